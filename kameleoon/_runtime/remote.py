"""
What the service knows of visitors and keys, asked for by the application and merged into the visitor.

Each conversation is a flow, so that the blocking method and its asynchronous twin give the same for the same answer or failure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kameleoon._runtime.evaluation import now_ms
from kameleoon._runtime.intake import check_code, take_in
from kameleoon._runtime.waiting import Waiting
from kameleoon._transport.message import FetchFailed
from kameleoon._transport.remote import fetch_map, fetch_visitor
from kameleoon._visitor.facts import Fact, MappedFrom
from kameleoon._visitor.remote import read_remote_visitor
from kameleoon.data import CustomData, Data
from kameleoon.exceptions import VisitorCodeInvalid
from kameleoon.logging.kameleoon_logger import KameleoonLogger
from kameleoon.types.remote_visitor_data_filter import RemoteVisitorDataFilter

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon._runtime.configuration import Configuration
    from kameleoon._transport.flow import Flow
    from kameleoon._transport.token import TokenSource
    from kameleoon.stores import VisitorStore


class RemoteData:
    """
    The remote data of one client.

    Args:
        configuration: For the service's addresses and the custom data it knows.
        store: Where visitors are.
        tokens: The client's token.
        timeout_s: Seconds for one call, unless the caller says otherwise.
        clock: Monotonic seconds.
        is_offline: Whether the service is never asked.
    """

    def __init__(
        self,
        configuration: Configuration,
        store: VisitorStore,
        tokens: TokenSource,
        timeout_s: float,
        clock: Callable[[], float],
        *,
        is_offline: bool = False,
    ) -> None:
        self._configuration = configuration
        self._store = store
        self._waiting = Waiting(store)
        self._tokens = tokens
        self._default_s = timeout_s
        self._clock = clock
        self._is_offline = is_offline

    def value(self, key: str, timeout: float | None) -> Flow[Any]:
        """
        What the service's map holds under *key*; ``None`` when there is nothing or it cannot be had.

        Raises:
            TypeError: *timeout* is no number.
        """
        timeout_s = self._timeout_s(timeout)
        try:
            self._check_reachable(timeout_s)
            return (
                yield from fetch_map(
                    self._configuration.endpoints, self._tokens, key, timeout_s=timeout_s, clock=self._clock
                )
            )
        except (FetchFailed, UnicodeEncodeError) as error:
            KameleoonLogger.error("Remote data could not be fetched: %s", _reason(error))
            return None

    def audiences(
        self, code: str, custom_data_index: int, warehouse_key: str | None, timeout: float | None
    ) -> Flow[CustomData | None]:
        """
        A visitor's audiences in the warehouse, added to him; ``None`` when they cannot be had, or the code is not valid.

        Raises:
            TypeError: *timeout* or *custom_data_index* is no number.
        """
        timeout_s = self._timeout_s(timeout)
        CustomData(custom_data_index)  # refuses what is no index before anything is asked
        try:
            check_code(code)
        except VisitorCodeInvalid as error:
            # The service's SDK raises here only from its asynchronous method; ours agree with each other.
            KameleoonLogger.error("Warehouse audiences could not be fetched: %s", error.reason)
            return None
        answer = yield from self.value(warehouse_key or code, timeout_s)
        if answer is None:
            return None
        audiences = answer.get("warehouseAudiences") if isinstance(answer, dict) else None
        yield from self._waiting.bring_on_loop([code])
        datum = CustomData(custom_data_index, *(audiences if isinstance(audiences, dict) else ()))
        take_in(self._store, self._configuration.ruleset.catalogue, code, [datum], now_ms())
        return datum

    def visitor(
        self, code: str, add_data: bool, timeout: float | None, data_filter: RemoteVisitorDataFilter | None
    ) -> Flow[list[Data]]:
        """
        What the service knows of a visitor; added to him if wanted. Empty when it cannot be had.

        Raises:
            TypeError: *timeout* is no number.
        """
        timeout_s = self._timeout_s(timeout)
        yield from self._waiting.bring_on_loop([code])
        visitor = self._store.read(code)
        wanted = data_filter or RemoteVisitorDataFilter()
        try:
            self._check_reachable(timeout_s)
            root = yield from fetch_visitor(
                self._configuration.endpoints,
                self._tokens,
                code,
                wanted,
                is_mapping_value=visitor is not None and visitor.is_unique,
                timeout_s=timeout_s,
                clock=self._clock,
            )
        except (FetchFailed, UnicodeEncodeError) as error:
            KameleoonLogger.error("Remote visitor data could not be fetched: %s", _reason(error))
            return []
        if root is None:
            return []
        catalogue = self._configuration.ruleset.catalogue
        resend = frozenset(index for index, entry in catalogue.by_index.items() if entry.visitor_scope)
        found = read_remote_visitor(root, wanted, resend, now_ms())
        facts: list[Fact] = [found.fact] if add_data else []
        if wanted.visitor_code and found.visitor_code:
            facts.insert(0, MappedFrom(found.visitor_code))
        if facts:
            self._store.write(code, facts, now_ms())
        return found.data

    def _timeout_s(self, timeout: float | None) -> float:
        if timeout is None:
            return self._default_s
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
            raise TypeError(f"timeout must be a number of seconds, not {type(timeout).__name__}")
        return timeout

    def _check_reachable(self, timeout_s: float) -> None:
        if self._is_offline:
            raise FetchFailed("the client works without the service: it has a source and no credentials")
        if not timeout_s > 0:
            raise FetchFailed(f"a timeout of {timeout_s:g} s leaves no time")


def _reason(error: FetchFailed | UnicodeEncodeError) -> str:
    # The error's own text would show what could not be encoded: a visitor code, or a key made of one.
    return error.reason if isinstance(error, FetchFailed) else "half of a surrogate pair cannot be sent"
