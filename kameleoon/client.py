"""
The client: one thin shell that wires the rooms, with the blocking methods and their few ``_async`` twins.

What a method answers is decided in `kameleoon._runtime`; what goes over the wire in `kameleoon._transport`.
"""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any, Self, overload

from kameleoon._runtime.core import Core
from kameleoon._runtime.evaluation import now_ms
from kameleoon._runtime.intake import MAX_CODE_LENGTH, check_code, take_in
from kameleoon._workers.background import in_event_loop
from kameleoon.data import Conversion, CustomData, Data, UniqueIdentifier
from kameleoon.exceptions import (
    FeatureVariableNotFound,
    FeatureVariationNotFound,
    KameleoonError,
    SiteCodeIsEmpty,
)
from kameleoon.logging.kameleoon_logger import KameleoonLogger
from kameleoon.logging.logger import DefaultLogger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from http.cookies import Morsel, SimpleCookie
    from types import TracebackType

    from kameleoon._engine.choice import Choice
    from kameleoon.config import KameleoonClientConfig, Settings
    from kameleoon.events import EventHandler, EventType
    from kameleoon.types.data_file import DataFile
    from kameleoon.types.details import Details
    from kameleoon.types.explanation import Explanation
    from kameleoon.types.flush_result import FlushResult
    from kameleoon.types.remote_visitor_data_filter import RemoteVisitorDataFilter
    from kameleoon.types.stats import Stats
    from kameleoon.types.variable import Variable
    from kameleoon.types.variation import Variation


class KameleoonClient:
    """
    Flags, variations and tracking of one site. Make it with `KameleoonClientFactory.create`.

    All methods may be called from any thread, and the same object serves asyncio applications: evaluations never wait, and what
    does network I/O has an ``_async`` twin.

    Args:
        site_code: The site.
        config: Its settings.

    Raises:
        SiteCodeIsEmpty: *site_code* is empty.
        ConfigException: The settings cannot be used; the text names each that is wrong.
    """

    def __init__(self, site_code: str, config: KameleoonClientConfig) -> None:
        if not site_code:
            raise SiteCodeIsEmpty("Provided site_code is empty")
        settings = config.freeze()
        if settings.logger is not None:
            KameleoonLogger.set_logger(DefaultLogger(settings.logger))
        self._core = Core(site_code, settings)

    def __repr__(self) -> str:
        return f"KameleoonClient({self._core.site_code!r}, environment={self.settings.environment!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def settings(self) -> Settings:
        """What the client was made with."""
        return self._core.settings

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._core.is_closed

    # --- readiness ----------------------------------------------------------------------------------------------------

    def wait_init(self, timeout_milliseconds: int | None = None) -> bool:
        """
        Wait for the first configuration.

        Args:
            timeout_milliseconds: How long at most; ``None`` or a negative number for the default timeout, 0 for no wait.

        Returns:
            Whether a configuration is in force. ``False`` as soon as the first fetch failed; a later one may still bring it.

        Raises:
            KameleoonError: It would block a running event loop; await `wait_init_async` there.
        """
        if self._core.configuration.is_ready:
            return True
        if timeout_milliseconds != 0 and in_event_loop():
            raise KameleoonError("wait_init() would block the running event loop: await wait_init_async() instead")
        return self._core.wait_init(timeout_milliseconds)

    async def wait_init_async(self, timeout_milliseconds: int | None = None) -> bool:
        """`wait_init` without blocking the event loop."""
        if self._core.configuration.is_ready:
            return True
        return await asyncio.to_thread(self._core.wait_init, timeout_milliseconds)

    def is_ready(self) -> bool:
        """Whether a configuration is in force. Never blocks, and never goes back to ``False``."""
        return self._core.configuration.is_ready

    # --- visitors and what is known of them ---------------------------------------------------------------------------

    def get_visitor_code(
        self,
        cookies_readonly: Mapping[str, Any] | None = None,
        cookies: SimpleCookie | dict[str, Any] | None = None,
        default_visitor_code: str | None = None,
    ) -> str:
        """
        The visitor code of a request, from its cookie, else the default, else a new one.

        Args:
            cookies_readonly: The request's cookies, ``{name: value or morsel}``.
            cookies: The same, to which the visitor cookie is added when it was missing and may be set.
            default_visitor_code: Taken when there is no cookie.

        Raises:
            VisitorCodeInvalid: The code found is longer than 255 characters, or the default is empty.
        """
        self._core.revive_after_fork()
        self._core.serve()
        return self._core.visitor_codes.of_request(cookies_readonly, cookies, default_visitor_code)

    def prepare(self, *visitor_codes: str) -> None:
        """
        Bring ahead what a shared visitor store knows of visitors, all in one round trip.

        For half a minute, in this thread or task only, their evaluations then answer from that and wait for nothing, and what is added
        to them reaches other workers a moment later. Without such a store there is nothing to do.

        Args:
            *visitor_codes: The visitors.

        Raises:
            VisitorCodeInvalid: A code is empty or longer than 255 characters.
        """
        for code in visitor_codes:
            self._core.enter(code)
        self._core.run(self._core.waiting.bring(visitor_codes))

    async def prepare_async(self, *visitor_codes: str) -> None:
        """`prepare` without blocking the event loop: the way to evaluate on a loop with a store that is reached over the network."""
        for code in visitor_codes:
            self._core.enter(code)
        await self._core.arun(self._core.waiting.bring(visitor_codes))

    def set_legal_consent(
        self, visitor_code: str, consent: bool, cookies: SimpleCookie | dict[str, Any] | None = None
    ) -> None:
        """
        Remember whether the visitor gave or refused consent.

        Args:
            visitor_code: The visitor.
            consent: His word.
            cookies: Where the visitor cookie is written when consent is given, and deleted when it is refused and the setting
                ``cookie_removed_on_refusal`` is on.

        Raises:
            VisitorCodeInvalid: *visitor_code* is empty or longer than 255 characters.
        """
        self._core.enter(visitor_code)
        self._core.visitor_codes.set_consent(visitor_code, consent, cookies)
        self._core.tracker.consented(visitor_code)

    def legal_consent(self, visitor_code: str) -> bool | None:
        """What the visitor said, as told by `set_legal_consent`; ``None`` when nothing is known. The code is not checked."""
        return self._core.visitor_codes.consent(visitor_code)

    def visitor_cookie(self, visitor_code: str, *, was_sent: bool) -> str | None:
        """The ``Set-Cookie`` value that belongs to a response, for middlewares: `visitor_morsel` as text."""
        morsel = self.visitor_morsel(visitor_code, was_sent=was_sent)
        return None if morsel is None else morsel.OutputString()

    def visitor_morsel(self, visitor_code: str, *, was_sent: bool) -> Morsel[str] | None:
        """
        The visitor cookie that belongs to a response, for middlewares.

        Args:
            visitor_code: The visitor.
            was_sent: Whether the request had the cookie.

        Returns:
            The cookie, its life renewed, as far as the visitor's consent allows; while consent is required and not given, a
            cookie that was sent is repeated without attributes and a new one is set only if a flag may be delivered without
            consent. When he refused and ``cookie_removed_on_refusal`` is on, the cookie's removal. ``None`` for no cookie.

        Source:
            ``tests/vectors/cookies.json``, cases ``cookies-004-05`` and ``cookies-005-02``.
        """
        return self._core.visitor_codes.morsel(visitor_code, was_sent=was_sent)

    def add_data(self, visitor_code: str, *args: Data | UniqueIdentifier | None, track: bool = True) -> None:
        """
        Add what is known of a visitor. It is sent with his next tracked event or `flush`.

        Args:
            visitor_code: The visitor.
            *args: Objects of `kameleoon.data`; ``None`` is skipped, unknown objects are skipped with a warning.
            track: ``False`` keeps the data for targeting only.

        Raises:
            VisitorCodeInvalid: *visitor_code* is empty or longer than 255 characters.
        """
        core = self._core
        core.enter(visitor_code)
        take_in(core.store, core.evaluation.ruleset.catalogue, visitor_code, args, now_ms(), track=track)

    def track_conversion(
        self,
        visitor_code: str,
        goal_id: int | str,
        revenue: float = 0.0,
        is_unique_identifier: bool | None = None,
        negative: bool = False,
        metadata: Iterable[CustomData] | None = None,
    ) -> None:
        """
        Track that a visitor reached a goal.

        Args:
            visitor_code: The visitor.
            goal_id: The goal's id; of a Convert project its key or its id.
            revenue: Money earned, in the site's currency.
            is_unique_identifier: Deprecated; add ``UniqueIdentifier`` instead.
            negative: Whether the conversion takes back an earlier one.
            metadata: Custom data sent with it.

        Raises:
            VisitorCodeInvalid: *visitor_code* is empty or longer than 255 characters.
            TypeError: An argument is of a wrong type.
            ValueError: *revenue* is NaN or infinite.
        """
        self._core.enter(visitor_code)
        conversion = Conversion(self._core.evaluation.ruleset.goal_id(goal_id), revenue, negative, metadata)
        if is_unique_identifier is not None:
            _deprecated_identifier()
            self._core.identify(visitor_code, is_unique_identifier)
        self.add_data(visitor_code, conversion)
        self._core.tracker.register(visitor_code)
        self._core.serve()

    @overload
    def flush(
        self,
        visitor_code: str | None = None,
        is_unique_identifier: bool | None = None,
        instant: bool = False,
    ) -> None: ...
    @overload
    def flush(
        self,
        visitor_code: str | None = None,
        is_unique_identifier: bool | None = None,
        instant: bool = False,
        *,
        timeout: float,
    ) -> FlushResult: ...
    def flush(
        self,
        visitor_code: str | None = None,
        is_unique_identifier: bool | None = None,
        instant: bool = False,
        *,
        timeout: float | None = None,
    ) -> FlushResult | None:
        """
        Send what is known of a visitor, or of all.

        Args:
            visitor_code: The visitor; ``None`` for all that hold any data.
            is_unique_identifier: Deprecated; add ``UniqueIdentifier`` instead.
            instant: Start sending now rather than at the next interval.
            timeout: Wait for the sending to end, for so many seconds at most.

        Returns:
            With *timeout*, what became of the lines; else ``None``.

        Raises:
            VisitorCodeInvalid: *visitor_code* is given and empty or longer than 255 characters.
        """
        if is_unique_identifier is not None:
            _deprecated_identifier()
        return self._flush(visitor_code, is_unique_identifier, instant, timeout)

    @overload
    async def flush_async(
        self,
        visitor_code: str | None = None,
        is_unique_identifier: bool | None = None,
        instant: bool = False,
    ) -> None: ...
    @overload
    async def flush_async(
        self,
        visitor_code: str | None = None,
        is_unique_identifier: bool | None = None,
        instant: bool = False,
        *,
        timeout: float,  # noqa: ASYNC109 - the twin of `flush`
    ) -> FlushResult: ...
    async def flush_async(
        self,
        visitor_code: str | None = None,
        is_unique_identifier: bool | None = None,
        instant: bool = False,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the twin of `flush`
    ) -> FlushResult | None:
        """`flush` without blocking the event loop."""
        if is_unique_identifier is not None:
            _deprecated_identifier()
        return await asyncio.to_thread(self._flush, visitor_code, is_unique_identifier, instant, timeout)

    def _flush(
        self, visitor_code: str | None, is_unique_identifier: bool | None, instant: bool, timeout: float | None
    ) -> FlushResult | None:
        if visitor_code is not None:
            self._core.enter(visitor_code)
            if is_unique_identifier is not None:
                self._core.identify(visitor_code, is_unique_identifier)
        return self._core.flush(visitor_code, instant, timeout)

    # --- flags --------------------------------------------------------------------------------------------------------

    def is_feature_active(
        self, visitor_code: str, feature_key: str, is_unique_identifier: bool | None = None, track: bool = True
    ) -> bool:
        """
        Whether a flag is on for a visitor: the variation he gets is not ``off``.

        Args:
            visitor_code: The visitor.
            feature_key: The flag.
            is_unique_identifier: Deprecated; add ``UniqueIdentifier`` instead.
            track: Whether the exposure is sent.

        Returns:
            ``False`` also when the flag is disabled in the environment or blocked by consent.

        Raises:
            VisitorCodeInvalid: *visitor_code* is empty or longer than 255 characters.
            FeatureNotFound: There is no such flag.
        """
        # As `Core.enter`, without the call: this is the path of most evaluations.
        core = self._core
        if core.is_forked or type(visitor_code) is not str or not 0 < len(visitor_code) <= MAX_CODE_LENGTH:
            core.enter(visitor_code)
        if is_unique_identifier is not None:
            _deprecated_identifier()
            core.identify(visitor_code, is_unique_identifier)
        choice = core.evaluation.decide_tracked(visitor_code, feature_key, track)
        if choice.refusal is not None:
            return False
        if track:
            core.tracker.register(visitor_code)
        return choice.is_active

    def get_variation(self, visitor_code: str, feature_key: str, track: bool = True) -> Variation:
        """
        The variation of a flag that a visitor gets.

        Args:
            visitor_code: The visitor.
            feature_key: The flag.
            track: Whether the exposure is sent.

        Raises:
            VisitorCodeInvalid: *visitor_code* is empty or longer than 255 characters.
            FeatureNotFound: There is no such flag.
            FeatureEnvironmentDisabled: The flag is disabled in the environment, or blocked by consent.
        """
        core = self._core
        core.enter(visitor_code)
        choice = core.evaluation.decide_tracked(visitor_code, feature_key, track)
        if choice.refusal is not None:
            raise core.evaluation.refused(feature_key, choice)
        if track:
            core.tracker.register(visitor_code)
        return choice.variation

    def get_variations(self, visitor_code: str, only_active: bool = False, track: bool = True) -> dict[str, Variation]:
        """
        The variations of all flags that a visitor gets.

        Args:
            visitor_code: The visitor.
            only_active: Leave out flags that are ``off`` for him.
            track: Whether the exposures are sent.

        Returns:
            ``{flag key: variation}`` in the configuration's order, without flags that are disabled or blocked.

        Raises:
            VisitorCodeInvalid: *visitor_code* is empty or longer than 255 characters.
        """
        self._core.enter(visitor_code)
        variations = {
            key: choice.variation
            for key, choice in self._core.evaluation.decide_all(visitor_code, save=True, track=track)
            if choice.is_active or not only_active
        }
        if track:
            self._core.tracker.register(visitor_code)
        return variations

    def evaluate(self, visitor_code: str, feature_key: str, default: Any = None) -> Details:
        """
        A flag's answer for a visitor with its reason. Never raises, remembers nothing and sends nothing.

        Args:
            visitor_code: The visitor.
            feature_key: The flag.
            default: The value when there is no answer. A boolean asks whether the flag is on, anything else for the key of the
                variation.

        Returns:
            The value, the variation, why, and what went wrong if anything did. The reason is ``STALE`` while the configuration
            may be old, as the last attempt to fetch it failed.
        """
        return self._core.evaluation.details(visitor_code, feature_key, default)

    def explain(self, visitor_code: str, feature_key: str) -> Explanation:
        """
        Why a visitor gets what `get_variation` gives him, rule by rule. Remembers nothing and sends nothing.

        Args:
            visitor_code: The visitor.
            feature_key: The flag.

        Returns:
            What was compared with what. ``print`` it, or take it apart with ``to_dict()``. A flag that is disabled or
            blocked has no variation, and the reason ``DISABLED``.

        Raises:
            VisitorCodeInvalid: *visitor_code* is empty or longer than 255 characters.
            FeatureNotFound: There is no such flag.
        """
        check_code(visitor_code)
        return self._core.evaluation.explain(visitor_code, feature_key)

    def get_feature_variation_key(
        self, visitor_code: str, feature_key: str, is_unique_identifier: bool | None = None
    ) -> str:
        """Deprecated: the key of what `get_variation` gives. Raises as that."""
        _deprecated("get_feature_variation_key", "get_variation")
        if is_unique_identifier is not None:
            _deprecated_identifier()
        return self._decide_tracked(visitor_code, feature_key, is_unique_identifier).variation_key

    def get_feature_variable(
        self, visitor_code: str, feature_key: str, variable_key: str, is_unique_identifier: bool | None = None
    ) -> Any:
        """
        Deprecated: the value of one variable of what `get_variation` gives.

        Raises:
            FeatureVariableNotFound: The variation has no such variable. Otherwise as `get_variation`.
        """
        _deprecated("get_feature_variable", "get_variation")
        if is_unique_identifier is not None:
            _deprecated_identifier()
        values = self._decide_tracked(visitor_code, feature_key, is_unique_identifier).values
        if values is None or variable_key not in values:
            raise FeatureVariableNotFound(variable_key)
        return values[variable_key].value

    def get_feature_variation_variables(self, feature_key: str, variation_key: str) -> dict[str, Any]:
        """
        Deprecated: ``{variable key: value}`` of a variation, whoever gets it.

        Raises:
            FeatureNotFound: There is no such flag.
            FeatureEnvironmentDisabled: The flag is disabled in the environment.
            FeatureVariationNotFound: The flag has no such variation.
        """
        _deprecated("get_feature_variation_variables", "get_data_file")
        flag = self._core.evaluation.flag(feature_key)
        self._core.evaluation.check_enabled(flag)
        variables: Mapping[str, Variable] | None = flag.variables_of(variation_key)
        if variables is None:
            raise FeatureVariationNotFound(variation_key)
        return {key: variable.value for key, variable in variables.items()}

    def get_active_features(self, visitor_code: str) -> dict[str, Variation]:
        """Deprecated: as ``get_variations(visitor_code, only_active=True)``, remembering and sending nothing."""
        _deprecated("get_active_features", "get_variations")
        self._core.enter(visitor_code)
        return {
            key: choice.variation
            for key, choice in self._core.evaluation.decide_all(visitor_code, save=False)
            if choice.is_active
        }

    def get_active_feature_list_for_visitor(self, visitor_code: str) -> list[str]:
        """Deprecated: the keys of what `get_active_features` gives. The code is not checked."""
        _deprecated("get_active_feature_list_for_visitor", "get_variations")
        return [key for key, choice in self._core.evaluation.decide_all(visitor_code, save=False) if choice.is_active]

    def get_feature_list(self) -> list[str]:
        """Deprecated: the keys of all flags, those disabled too."""
        _deprecated("get_feature_list", "get_data_file")
        return list(self._core.evaluation.ruleset.flag_keys)

    def get_data_file(self) -> DataFile:
        """The configuration in force; the same object until the next one."""
        return self._core.evaluation.ruleset.view()

    def set_forced_variation(
        self, visitor_code: str, experiment_id: int, variation_key: str | None, force_targeting: bool = True
    ) -> None:
        """
        Have a visitor get one variation of an experiment from now on.

        Args:
            visitor_code: The visitor.
            experiment_id: The experiment.
            variation_key: What he gets; ``None`` ends the forcing.
            force_targeting: Whether he gets it also when the rule is not for him.

        Raises:
            VisitorCodeInvalid: *visitor_code* is empty or longer than 255 characters.
            FeatureExperimentNotFound: No rule has that experiment.
            FeatureVariationNotFound: The experiment has no such variation.
        """
        self._core.enter(visitor_code)
        self._core.evaluation.force(visitor_code, experiment_id, variation_key, force_targeting=force_targeting)

    def evaluate_audiences(self, visitor_code: str) -> None:
        """
        Find the tracked audience segments the visitor is in, and send them.

        Raises:
            VisitorCodeInvalid: *visitor_code* is empty or longer than 255 characters.
        """
        self._core.enter(visitor_code)
        self._core.evaluation.audiences(visitor_code)
        self._core.tracker.register(visitor_code)

    def get_engine_tracking_code(self, visitor_code: str) -> str:
        """JavaScript for the page that tells the web engine which variations the visitor was given in the last 5 s."""
        return self._core.evaluation.tracking_code(visitor_code)

    # --- remote data --------------------------------------------------------------------------------------------------

    def get_remote_data(self, key: str, timeout: float | None = None) -> Any:
        """
        What the service's map holds under *key*, decoded; ``None`` when there is nothing or it cannot be had.

        Args:
            key: The key.
            timeout: Seconds for everything; the default timeout without it.
        """
        return self._core.run(self._core.remote.value(key, timeout))

    async def get_remote_data_async(self, key: str, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - the vendor's signature
        """`get_remote_data` without blocking the event loop."""
        return await self._core.arun(self._core.remote.value(key, timeout))

    def get_remote_visitor_data(
        self,
        visitor_code: str,
        add_data: bool = True,
        timeout: float | None = None,
        data_filter: RemoteVisitorDataFilter | None = None,
        is_unique_identifier: bool | None = None,
    ) -> list[Data]:
        """
        What the service knows of a visitor from earlier visits and other devices.

        Args:
            visitor_code: The visitor.
            add_data: Whether it is added to what is known here; what is known here stays.
            timeout: Seconds for everything; the default timeout without it.
            data_filter: Which data; custom data of the current and the previous visit without it.
            is_unique_identifier: Deprecated; add ``UniqueIdentifier`` instead.

        Returns:
            Custom data, page views, device, browser, operating system, geolocation and conversions; empty on failure.
        """
        if is_unique_identifier is not None:
            _deprecated_identifier()
            self._core.identify(visitor_code, is_unique_identifier)
        return self._core.run(self._core.remote.visitor(visitor_code, add_data, timeout, data_filter))

    async def get_remote_visitor_data_async(
        self,
        visitor_code: str,
        add_data: bool = True,
        timeout: float | None = None,  # noqa: ASYNC109 - the vendor's signature
        data_filter: RemoteVisitorDataFilter | None = None,
        is_unique_identifier: bool | None = None,
    ) -> list[Data]:
        """`get_remote_visitor_data` without blocking the event loop."""
        if is_unique_identifier is not None:
            _deprecated_identifier()
            await self._core.arun(self._core.waiting.bring([visitor_code]))
            self._core.identify(visitor_code, is_unique_identifier)
        return await self._core.arun(self._core.remote.visitor(visitor_code, add_data, timeout, data_filter))

    def get_visitor_warehouse_audience(
        self,
        visitor_code: str,
        custom_data_index: int,
        warehouse_key: str | None = None,
        timeout: float | None = None,
    ) -> CustomData | None:
        """
        The visitor's audiences in the data warehouse, added to him as custom data.

        Args:
            visitor_code: The visitor.
            custom_data_index: Index of the custom data that takes them.
            warehouse_key: His key in the warehouse; the visitor code without it.
            timeout: Seconds for everything; the default timeout without it.

        Returns:
            The custom data, ``None`` when the audiences cannot be had, or the code is not valid.
        """
        return self._core.run(self._core.remote.audiences(visitor_code, custom_data_index, warehouse_key, timeout))

    async def get_visitor_warehouse_audience_async(
        self,
        visitor_code: str,
        custom_data_index: int,
        warehouse_key: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the vendor's signature
    ) -> CustomData | None:
        """`get_visitor_warehouse_audience` without blocking the event loop."""
        return await self._core.arun(
            self._core.remote.audiences(visitor_code, custom_data_index, warehouse_key, timeout)
        )

    # --- events -------------------------------------------------------------------------------------------------------

    def set_event_handler(self, event_type: EventType, handler: EventHandler | None) -> None:
        """
        Have *handler* called for events of a type, one handler a type; ``None`` ends it.

        Handlers are called on a thread of their own, one event at a time; what they raise is logged.
        """
        self._core.announcements.set_handler(event_type, handler)

    def on_update_configuration(self, handler: Callable[[], None]) -> None:
        """Deprecated: have *handler* called after each configuration that a stream announced."""
        _deprecated("on_update_configuration", "set_event_handler")
        self._core.announcements.on_streamed_update = handler

    def stats(self) -> Stats:
        """What was sent so far, what waits, and what was given up. Never blocks; works on a closed client too."""
        return self._core.stats()

    # --- the end ------------------------------------------------------------------------------------------------------

    def close(self, timeout: float | None = None) -> None:
        """
        Send what is left, then free everything. Calling it again does nothing.

        Args:
            timeout: Seconds for the sending; ``exit_timeout_millisecond`` without it.
        """
        self._core.close(timeout)

    async def aclose(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the twin of `close`
        """`close` without blocking the event loop."""
        await asyncio.to_thread(self.close, timeout)
        await self._core.async_sender.aclose()

    async def run_background(self) -> None:
        """
        Do the client's background work on the running loop, for ``multi_threading=False``; ends with `close`.

        Start it with ``asyncio.create_task(client.run_background())`` and cancel it to end.
        """
        await self._core.run_background()

    # --- helpers ------------------------------------------------------------------------------------------------------

    def _decide_tracked(self, code: str, feature_key: str, is_unique_identifier: bool | None) -> Choice:
        core = self._core
        core.enter(code)
        if is_unique_identifier is not None:
            core.identify(code, is_unique_identifier)
        choice = core.evaluation.decide(code, core.evaluation.flag(feature_key))
        core.tracker.register(code)
        return choice


def _deprecated_identifier() -> None:
    warnings.warn(
        "the argument is_unique_identifier is deprecated, add UniqueIdentifier() with add_data() instead",
        DeprecationWarning,
        stacklevel=3,
    )


def _deprecated(name: str, instead: str) -> None:
    warnings.warn(f"{name}() is deprecated, use {instead}()", DeprecationWarning, stacklevel=3)
