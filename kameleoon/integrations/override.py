"""Flags that a test decides, whatever the configuration says."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from kameleoon.types.variable import Variable
from kameleoon.types.variation import OFF_KEY, Variation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

F = TypeVar("F", bound="Callable[..., Any]")

overrides: dict[str, Variation] = {}
"""``{flag key: variation}`` that `kameleoon.integrations.visitor.Visitor` gives before it asks the client."""


class override_flag:  # noqa: N801 - reads as the function that it is used as
    """
    Decide a flag for all visitors of this process, as long as a ``with`` block or a decorated function, ``async`` or not, runs.

    It counts for the visitors of requests (``request.kameleoon``, ``g.kameleoon`` …) in all threads, so that it reaches a server
    which a test runs in a thread; not for calls of the client itself. Nothing is tracked, and no client is made for it.

        with override_flag("new_checkout", active=True, variables={"columns": 3}): ...

        @override_flag("new_checkout", active=False)
        def test_old_checkout(client): ...

    Args:
        flag_key: The flag.
        active: Whether it is on.
        variation: Key of the variation; ``on`` or ``off`` by *active* without it.
        variables: ``{variable key: value}``.

    Raises:
        ValueError: *variation* and *active* contradict each other.
    """

    def __init__(
        self,
        flag_key: str,
        *,
        active: bool | None = None,
        variation: str | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        if variation is None:
            variation = OFF_KEY if active is False else "on"
        if active is not None and active != (variation != OFF_KEY):
            raise ValueError(f"override_flag({flag_key!r}): variation {variation!r} is not what active={active} says")
        self._flag_key = flag_key
        given = {key: Variable(key, _type_of(value), value) for key, value in (variables or {}).items()}
        self._variation = Variation(variation, None, None, given, variation)
        self._before: list[Variation | None] = []

    def __call__(self, function: F) -> F:
        """Decide the flag while *function* runs."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def run_async(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await function(*args, **kwargs)

            return cast("F", run_async)

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return cast("F", run)

    def __enter__(self) -> Self:
        self._before.append(overrides.get(self._flag_key))
        overrides[self._flag_key] = self._variation
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        before = self._before.pop()
        if before is None:
            overrides.pop(self._flag_key, None)
        else:
            overrides[self._flag_key] = before


def _type_of(value: object) -> str:
    if isinstance(value, bool):
        return "BOOLEAN"
    if isinstance(value, int | float):
        return "NUMBER"
    return "STRING" if isinstance(value, str) else "JSON"
