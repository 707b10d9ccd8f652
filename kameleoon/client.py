"""
The client: one thin shell that wires the rooms, with the blocking methods and their few ``_async`` twins.

What a method answers is decided in `kameleoon._runtime`; what goes over the wire in `kameleoon._transport`.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
import time
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from kameleoon._runtime.configuration import Configuration
from kameleoon._runtime.evaluation import Evaluation, now_ms
from kameleoon._runtime.intake import MAX_CODE_LENGTH, check_code, take_in
from kameleoon._runtime.remote import RemoteData
from kameleoon._runtime.streaming import Streaming
from kameleoon._runtime.tracker import Tracker
from kameleoon._sources.kept import KeptSource
from kameleoon._sources.make import make_source
from kameleoon._sources.service import ServiceSource
from kameleoon._tracking.delivery import Body, Counters, Delivery
from kameleoon._tracking.outbox import MemoryOutbox
from kameleoon._transport.aiohttp_sender import AiohttpSender
from kameleoon._transport.endpoints import Endpoints
from kameleoon._transport.flow import arun, run
from kameleoon._transport.message import TransportError, TransportErrorKind
from kameleoon._transport.remote import tracking_request
from kameleoon._transport.requests_sender import RequestsSender
from kameleoon._transport.token import TokenSource, authorised, refresh_token
from kameleoon._visitor.facts import Consented, Identified
from kameleoon._workers import lifetime
from kameleoon._workers.background import Background, in_event_loop
from kameleoon._workers.dispatcher import Dispatcher
from kameleoon._workers.loop import run_schedule
from kameleoon._workers.schedule import Job, Schedule
from kameleoon.cookies import (
    SIMULATION_COOKIE,
    VISITOR_COOKIE,
    CookiePolicy,
    repeated,
    visitor_code_in,
)
from kameleoon.data import Conversion, CustomData, Data, UniqueIdentifier
from kameleoon.events import DataFileUpdateEvent, EventHandler, EventType, HttpRequestFailure
from kameleoon.exceptions import (
    FeatureVariableNotFound,
    FeatureVariationNotFound,
    Initialization,
    KameleoonError,
    SiteCodeIsEmpty,
)
from kameleoon.logging.kameleoon_logger import KameleoonLogger
from kameleoon.logging.logger import DefaultLogger
from kameleoon.stores import MemoryStore, RedisStore, VisitorStore
from kameleoon.types.flush_result import FlushResult
from kameleoon.types.stats import Stats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from http.cookies import Morsel, SimpleCookie
    from types import TracebackType

    from kameleoon._engine.choice import Choice
    from kameleoon._sources.protocol import Source
    from kameleoon._tracking.outbox import Outbox
    from kameleoon._transport.flow import Flow
    from kameleoon._transport.message import Request, Response
    from kameleoon.config import KameleoonClientConfig, Settings
    from kameleoon.types.data_file import DataFile
    from kameleoon.types.details import Details
    from kameleoon.types.explanation import Explanation
    from kameleoon.types.remote_visitor_data_filter import RemoteVisitorDataFilter
    from kameleoon.types.variable import Variable
    from kameleoon.types.variation import Variation

_CONFIGURATION = "configuration"
_ANNOUNCED = "announced configuration"
_TRACKING = "tracking"
_DELIVERY = "delivery"
_TOKEN = "access token"  # noqa: S105 - a job's name
_TOKEN_INTERVAL_S = 60.0
_LEASE_MARGIN_S = 5.0
_PATIENCE_S = 0.2
"""How long a thread that was told to end is waited for at least."""

T = TypeVar("T")


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
        self._site_code = site_code
        self._settings = settings
        self._clock = time.monotonic
        threaded = settings.multi_threading is not False
        self._handlers: dict[EventType, Any] = {}
        self._on_streamed_update: Callable[[], None] | None = None
        self._dispatcher = Dispatcher(f"kameleoon-events-{site_code}", threaded=threaded)
        endpoints = Endpoints(site_code, settings.environment, settings.network_domain, settings.base_url)
        self._tokens = TokenSource(endpoints.token(), settings.client_id, settings.client_secret)
        source = make_source(settings.source, service=_service(endpoints, settings))
        self._configuration = Configuration(source, endpoints, self._on_configuration, settings.regex_timeout_s)
        self._store = _make_store(settings.visitor_store, site_code, settings.session_duration_s, settings.max_visitors)
        self._evaluation = Evaluation(self._configuration, self._store, settings.environment)
        self._remote = RemoteData(
            self._configuration,
            self._store,
            self._tokens,
            settings.timeout_s,
            self._clock,
            is_offline=self._is_offline,
        )
        self._counters = Counters()
        self._outbox = self._make_outbox()
        self._delivery = Delivery(self._outbox, self._post_lines, self._counters, self._clock, time.time)
        self._tracker = self._make_tracker()
        self._cookies = CookiePolicy(settings.top_level_domain, settings.cookie_secure, settings.cookie_samesite)
        self._sender = RequestsSender(self._on_request)
        self._async_sender = AiohttpSender(self._on_request)
        self._closing = threading.Lock()
        self._is_closed = False
        self._is_forked = False
        self._pid = os.getpid()
        self._streaming = self._make_streaming()
        self._schedule, self._background = self._make_background(threaded=threaded)
        lifetime.watch(self)
        if threaded and not self._is_offline:
            # Were the worker to import it while the application forks, the child would wait for that import for ever.
            import kameleoon._transport.requests_wire  # noqa: F401, PLC0415 - costs time and memory
        self._background.start()

    def __repr__(self) -> str:
        return f"KameleoonClient({self._site_code!r}, environment={self._settings.environment!r})"

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
        return self._settings

    @property
    def _is_offline(self) -> bool:
        return self._settings.source is not None and not self._settings.client_id

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._is_closed

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
        if self._configuration.is_ready:
            return True
        if timeout_milliseconds != 0 and in_event_loop():
            raise KameleoonError("wait_init() would block the running event loop: await wait_init_async() instead")
        return self._wait_init(timeout_milliseconds)

    async def wait_init_async(self, timeout_milliseconds: int | None = None) -> bool:
        """`wait_init` without blocking the event loop."""
        if self._configuration.is_ready:
            return True
        return await asyncio.to_thread(self._wait_init, timeout_milliseconds)

    def _wait_init(self, timeout_milliseconds: int | None) -> bool:
        self._revive_after_fork()
        given = timeout_milliseconds is not None and timeout_milliseconds >= 0
        timeout_s = (timeout_milliseconds or 0) / 1000 if given else self._settings.timeout_s
        if timeout_s > 0:
            self._background.serve()
        if not self._configuration.wait(timeout_s):
            reason = self._configuration.failure or f"no configuration within {timeout_s:g} s"
            error = Initialization(self._site_code, self._settings.environment, Exception(reason))
            KameleoonLogger.error(str(error))
        return self._configuration.is_ready

    def is_ready(self) -> bool:
        """Whether a configuration is in force. Never blocks, and never goes back to ``False``."""
        return self._configuration.is_ready

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
        self._revive_after_fork()
        self._background.serve()
        given: Mapping[str, Any] = cookies_readonly or cookies or {}
        code = visitor_code_in(given)
        if code is not None:
            check_code(code)
        else:
            if default_visitor_code is not None:
                check_code(default_visitor_code)
                code = default_visitor_code
            else:
                code = secrets.token_hex(8)
            if cookies is not None and not self._cookie_needs_consent():
                cookies[VISITOR_COOKIE] = self._cookies.morsel(code, time.time())
        simulation = _cookie_text(given.get(SIMULATION_COOKIE))
        if simulation:
            self._evaluation.simulate(code, simulation)
        return code

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
        self._enter(visitor_code)
        self._store.write(visitor_code, [Consented(bool(consent))], now_ms())
        if cookies is not None:
            if consent:
                cookies[VISITOR_COOKIE] = self._cookies.morsel(visitor_code, time.time())
            elif self._settings.cookie_removed_on_refusal:
                cookies[VISITOR_COOKIE] = self._cookies.removal(time.time())

    def legal_consent(self, visitor_code: str) -> bool | None:
        """What the visitor said, as told by `set_legal_consent`; ``None`` when nothing is known. The code is not checked."""
        visitor = self._store.peek(visitor_code)
        return None if visitor is None else visitor.record.consent

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
        consent = self.legal_consent(visitor_code)
        now_s = time.time()
        if consent is False and self._settings.cookie_removed_on_refusal:
            return self._cookies.removal(now_s)
        if consent is True or not self._evaluation.ruleset.consent_required:
            return self._cookies.morsel(visitor_code, now_s)
        if was_sent:
            return repeated(visitor_code)
        return None if self._cookie_needs_consent() else self._cookies.morsel(visitor_code, now_s)

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
        self._enter(visitor_code)
        take_in(self._store, self._evaluation.ruleset.catalogue, visitor_code, args, now_ms(), track=track)

    def track_conversion(
        self,
        visitor_code: str,
        goal_id: int,
        revenue: float = 0.0,
        is_unique_identifier: bool | None = None,
        negative: bool = False,
        metadata: Iterable[CustomData] | None = None,
    ) -> None:
        """
        Track that a visitor reached a goal.

        Args:
            visitor_code: The visitor.
            goal_id: The goal's id.
            revenue: Money earned, in the site's currency.
            is_unique_identifier: Deprecated; add ``UniqueIdentifier`` instead.
            negative: Whether the conversion takes back an earlier one.
            metadata: Custom data sent with it.

        Raises:
            VisitorCodeInvalid: *visitor_code* is empty or longer than 255 characters.
            TypeError: An argument is of a wrong type.
            ValueError: *revenue* is NaN or infinite.
        """
        self._enter(visitor_code)
        conversion = Conversion(goal_id, revenue, negative, metadata)
        if is_unique_identifier is not None:
            _deprecated_identifier()
            self._identify(visitor_code, is_unique_identifier)
        self.add_data(visitor_code, conversion)
        self._tracker.register(visitor_code)
        self._background.serve()

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

    def _flush(
        self, visitor_code: str | None, is_unique_identifier: bool | None, instant: bool, timeout: float | None
    ) -> FlushResult | None:
        if visitor_code is not None:
            self._enter(visitor_code)
            if is_unique_identifier is not None:
                self._identify(visitor_code, is_unique_identifier)
        self._revive_after_fork()
        # What a flush was given outlives the process if anything does, so it is on disk when the call is back.
        is_durable = self._outbox.is_durable
        if not instant and timeout is None:
            if visitor_code is None:
                self._tracker.flush_all(at_once=False, by_caller=is_durable)
            else:
                self._tracker.register(visitor_code)
            if is_durable:
                self._tracker.collect()
            self._background.serve()
            return None
        sent, dropped = self._counters.sent, self._counters.dropped
        if visitor_code is None:
            self._tracker.flush_all(at_once=True, by_caller=is_durable)
        else:
            self._tracker.claim([visitor_code])
        if timeout is not None:
            # Without a thread the requests are made by the caller, who must be back in time.
            self._tracker.press(None if self._background.is_threaded else self._clock() + timeout)
        runs = self._background.hasten(_DELIVERY)
        if timeout is None:
            return None
        # Nobody works for a closed client any more, so that waiting would be for nothing.
        self._background.wait_for(_DELIVERY, runs, 0.0 if self._is_closed else timeout)
        return FlushResult(self._counters.sent - sent, self._tracker.pending, self._counters.dropped - dropped)

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
        # As `_enter`, without the call: this is the path of most evaluations.
        if self._is_forked or type(visitor_code) is not str or not 0 < len(visitor_code) <= MAX_CODE_LENGTH:
            self._enter(visitor_code)
        if is_unique_identifier is not None:
            _deprecated_identifier()
            self._identify(visitor_code, is_unique_identifier)
        choice = self._evaluation.decide_tracked(visitor_code, feature_key, track)
        if choice.refusal is not None:
            return False
        if track:
            self._tracker.register(visitor_code)
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
        self._enter(visitor_code)
        choice = self._evaluation.decide_tracked(visitor_code, feature_key, track)
        if choice.refusal is not None:
            raise self._evaluation.refused(feature_key, choice)
        if track:
            self._tracker.register(visitor_code)
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
        self._enter(visitor_code)
        variations = {
            key: choice.variation
            for key, choice in self._evaluation.decide_all(visitor_code, save=True, track=track)
            if choice.is_active or not only_active
        }
        if track:
            self._tracker.register(visitor_code)
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
        return self._evaluation.details(visitor_code, feature_key, default)

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
        return self._evaluation.explain(visitor_code, feature_key)

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
        flag = self._evaluation.flag(feature_key)
        self._evaluation.check_enabled(flag)
        variables: Mapping[str, Variable] | None = flag.variables_of(variation_key)
        if variables is None:
            raise FeatureVariationNotFound(variation_key)
        return {key: variable.value for key, variable in variables.items()}

    def get_active_features(self, visitor_code: str) -> dict[str, Variation]:
        """Deprecated: as ``get_variations(visitor_code, only_active=True)``, remembering and sending nothing."""
        _deprecated("get_active_features", "get_variations")
        self._enter(visitor_code)
        return {
            key: choice.variation
            for key, choice in self._evaluation.decide_all(visitor_code, save=False)
            if choice.is_active
        }

    def get_active_feature_list_for_visitor(self, visitor_code: str) -> list[str]:
        """Deprecated: the keys of what `get_active_features` gives. The code is not checked."""
        _deprecated("get_active_feature_list_for_visitor", "get_variations")
        return [key for key, choice in self._evaluation.decide_all(visitor_code, save=False) if choice.is_active]

    def get_feature_list(self) -> list[str]:
        """Deprecated: the keys of all flags, those disabled too."""
        _deprecated("get_feature_list", "get_data_file")
        return list(self._evaluation.ruleset.flag_keys)

    def get_data_file(self) -> DataFile:
        """The configuration in force; the same object until the next one."""
        return self._evaluation.ruleset.view()

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
        self._enter(visitor_code)
        self._evaluation.force(visitor_code, experiment_id, variation_key, force_targeting=force_targeting)

    def evaluate_audiences(self, visitor_code: str) -> None:
        """
        Find the tracked audience segments the visitor is in, and send them.

        Raises:
            VisitorCodeInvalid: *visitor_code* is empty or longer than 255 characters.
        """
        self._enter(visitor_code)
        self._evaluation.audiences(visitor_code)
        self._tracker.register(visitor_code)

    def get_engine_tracking_code(self, visitor_code: str) -> str:
        """JavaScript for the page that tells the web engine which variations the visitor was given in the last 5 s."""
        return self._evaluation.tracking_code(visitor_code)

    # --- remote data --------------------------------------------------------------------------------------------------

    def get_remote_data(self, key: str, timeout: float | None = None) -> Any:
        """
        What the service's map holds under *key*, decoded; ``None`` when there is nothing or it cannot be had.

        Args:
            key: The key.
            timeout: Seconds for everything; the default timeout without it.
        """
        return self._run(self._remote.value(key, timeout))

    async def get_remote_data_async(self, key: str, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - the vendor's signature
        """`get_remote_data` without blocking the event loop."""
        return await self._arun(self._remote.value(key, timeout))

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
            self._identify(visitor_code, is_unique_identifier)
        return self._run(self._remote.visitor(visitor_code, add_data, timeout, data_filter))

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
            self._identify(visitor_code, is_unique_identifier)
        return await self._arun(self._remote.visitor(visitor_code, add_data, timeout, data_filter))

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
        return self._run(self._remote.audiences(visitor_code, custom_data_index, warehouse_key, timeout))

    async def get_visitor_warehouse_audience_async(
        self,
        visitor_code: str,
        custom_data_index: int,
        warehouse_key: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the vendor's signature
    ) -> CustomData | None:
        """`get_visitor_warehouse_audience` without blocking the event loop."""
        return await self._arun(self._remote.audiences(visitor_code, custom_data_index, warehouse_key, timeout))

    # --- events -------------------------------------------------------------------------------------------------------

    def set_event_handler(self, event_type: EventType, handler: EventHandler | None) -> None:
        """
        Have *handler* called for events of a type, one handler a type; ``None`` ends it.

        Handlers are called on a thread of their own, one event at a time; what they raise is logged.
        """
        if not isinstance(event_type, EventType):
            KameleoonLogger.error("There is no event type %s", repr(event_type))
            return
        if handler is None:
            self._handlers.pop(event_type, None)
            return
        missing = [name for name in event_type.required_methods if not callable(getattr(handler, name, None))]
        if missing:
            KameleoonLogger.error("The handler for %s has no %s", str(event_type), ", ".join(missing))
            return
        self._handlers[event_type] = handler

    def on_update_configuration(self, handler: Callable[[], None]) -> None:
        """Deprecated: have *handler* called after each configuration that a stream announced."""
        _deprecated("on_update_configuration", "set_event_handler")
        self._on_streamed_update = handler

    def stats(self) -> Stats:
        """What was sent so far, what waits, and what was given up. Never blocks; works on a closed client too."""
        counters = self._counters
        return Stats(
            events_produced=counters.produced,
            events_sent=counters.sent,
            events_dropped=counters.dropped,
            events_pending=self._tracker.pending,
            requests_retried=counters.retried,
            visitors=len(self._store),
        )

    # --- the end ------------------------------------------------------------------------------------------------------

    def close(self, timeout: float | None = None) -> None:
        """
        Send what is left, then free everything. Calling it again does nothing.

        Args:
            timeout: Seconds for the sending; ``exit_timeout_millisecond`` without it.
        """
        if self._is_forked and os.getpid() != self._pid:
            # The parent sends what it had; its locks may be held here for ever by threads that this process does not have.
            self._is_closed = True
            return
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
        lifetime.unwatch(self)
        self._schedule.wake()
        deadline_s = self._clock() + (self._settings.exit_timeout_s if timeout is None else timeout)
        self._tracker.collect_everything()
        self._background.stop(0.0)
        self._deliver_rest(deadline_s)
        # Ends a fetch that still waits for its answer, so that the worker need not be waited for that long.
        self._sender.close()
        self._streaming.close(_PATIENCE_S)
        self._background.stop(max(_PATIENCE_S, deadline_s - self._clock()))
        if len(self._outbox) and self._outbox.is_durable:
            KameleoonLogger.warning("%d events are not sent yet, and are kept on disk", len(self._outbox))
        elif len(self._outbox):
            KameleoonLogger.warning("%d events could not be sent before the client was closed", len(self._outbox))
        self._outbox.close()
        self._dispatcher.stop()
        self._sender.close()
        self._async_sender.close()
        self._store.close()

    async def aclose(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the twin of `close`
        """`close` without blocking the event loop."""
        await asyncio.to_thread(self.close, timeout)
        await self._async_sender.aclose()

    async def run_background(self) -> None:
        """
        Do the client's background work on the running loop, for ``multi_threading=False``; ends with `close`.

        Start it with ``asyncio.create_task(client.run_background())`` and cancel it to end.
        """
        self._revive_after_fork()
        await run_schedule(self._schedule, self._async_sender, lambda: self._is_closed)

    def at_exit(self) -> None:
        """Called by the process when it ends."""
        self.close()

    def after_fork_in_child(self) -> None:
        """Called by the process in the child of a fork."""
        self._is_forked = True

    # --- wiring -------------------------------------------------------------------------------------------------------

    def _make_background(self, *, threaded: bool) -> tuple[Schedule, Background]:
        settings = self._settings
        jobs = [
            Job(_CONFIGURATION, self._poll, self._configuration.until_next_s, due_s=self._clock()),
            Job(_ANNOUNCED, self._streaming.refresh, self._streaming.wait_s),
            Job(
                _TRACKING,
                self._tracker.track,
                lambda: settings.tracking_interval_s,
                due_s=self._clock() + settings.tracking_interval_s,
            ),
            Job(_DELIVERY, self._tracker.deliver_now, lambda: None),
            Job(_TOKEN, self._renew_token, lambda: _TOKEN_INTERVAL_S, due_s=self._clock() + _TOKEN_INTERVAL_S),
        ]
        schedule = Schedule(jobs, self._clock)
        return schedule, Background(f"kameleoon-{self._site_code}", schedule, self._sender, threaded=threaded)

    def _make_outbox(self) -> Outbox:
        data_dir = self._settings.data_dir
        if data_dir is None or self._is_offline:
            return MemoryOutbox()
        from kameleoon._tracking.disk import DiskOutbox, outbox_path  # noqa: PLC0415 - sqlite3 is for those who keep events

        # No request lasts longer than its timeout, so nobody else may have the lines meanwhile.
        return DiskOutbox(outbox_path(data_dir, self._site_code), self._settings.timeout_s + _LEASE_MARGIN_S)

    def _deliver_rest(self, deadline_s: float) -> None:
        """Send what waits, in the caller's thread: the worker may be held up by a request that has nothing to do with it."""
        while (left_s := deadline_s - self._clock()) > 0 and self._delivery.wait_idle(left_s):
            if run(self._delivery.deliver(at_once=True, deadline_s=deadline_s), self._sender):
                return

    def _make_tracker(self) -> Tracker:
        return Tracker(
            self._configuration,
            self._store,
            self._outbox,
            self._delivery,
            self._counters,
            is_offline=self._is_offline,
        )

    def _make_streaming(self) -> Streaming:
        return Streaming(
            f"kameleoon-stream-{self._site_code}",
            self._configuration,
            self._configuration.endpoints.stream,
            lambda: self._schedule.hasten(_ANNOUNCED),
        )

    def _poll(self) -> Flow[bool]:
        if self._streaming.is_open:
            return True
        return (yield from self._configuration.refresh())

    def _renew_token(self) -> Flow[bool]:
        return refresh_token(self._tokens, self._settings.timeout_s, self._clock)

    def _post_lines(self, body: Body) -> Flow[Response]:
        timeout_s = self._settings.timeout_s
        if body.deadline_s is not None:
            timeout_s = min(timeout_s, max(body.deadline_s - self._clock(), 0.001))
        request = tracking_request(self._configuration.endpoints, body.content, timeout_s)
        if body.is_gzip:
            request = replace(request, headers={**request.headers, "Content-Encoding": "gzip"})
        return authorised(request, self._tokens, self._clock)

    def _enter(self, code: str) -> None:
        """What every method does first that is about one visitor."""
        if self._is_forked:
            self._revive_after_fork()
        check_code(code)

    def _revive_after_fork(self) -> None:
        """In a forked child: leave what was unsent to the parent, and start a worker of its own."""
        if not self._is_forked:
            return
        self._is_forked = False
        if os.getpid() == self._pid:
            # The child was made with vfork, as libuv does: it wrote the mark into the memory of its parent.
            return
        self._pid = os.getpid()
        self._closing = threading.Lock()
        self._store.after_fork_in_child()
        self._outbox = self._make_outbox()
        self._counters = Counters()
        self._delivery = Delivery(self._outbox, self._post_lines, self._counters, self._clock, time.time)
        self._tracker = self._make_tracker()
        self._configuration.after_fork_in_child()
        threaded = self._background.is_threaded
        self._streaming = self._make_streaming()
        self._dispatcher = Dispatcher(f"kameleoon-events-{self._site_code}", threaded=threaded)
        self._schedule, self._background = self._make_background(threaded=threaded)
        self._follow_stream()
        self._background.start()
        lifetime.watch_worker_end()
        KameleoonLogger.info("Forked: this process works on its own, the parent sends what it had")

    def _identify(self, code: str, is_unique_identifier: bool) -> None:
        self._store.write(code, [Identified(bool(is_unique_identifier))], now_ms())

    def _decide_tracked(self, code: str, feature_key: str, is_unique_identifier: bool | None) -> Choice:
        self._enter(code)
        if is_unique_identifier is not None:
            self._identify(code, is_unique_identifier)
        choice = self._evaluation.decide(code, self._evaluation.flag(feature_key))
        self._tracker.register(code)
        return choice

    def _cookie_needs_consent(self) -> bool:
        ruleset = self._evaluation.ruleset
        return ruleset.consent_required and not ruleset.has_delivery()

    def _run(self, flow: Flow[T]) -> T:
        self._revive_after_fork()
        return run(flow, self._sender)

    async def _arun(self, flow: Flow[T]) -> T:
        self._revive_after_fork()
        return await arun(flow, self._async_sender)

    def _follow_stream(self) -> None:
        is_wanted = self._evaluation.ruleset.data_file.settings.real_time
        self._streaming.follow(is_wanted and self._settings.source is None and self._background.is_threaded)

    def _on_configuration(self, announced: bool) -> None:
        self._follow_stream()
        handler = self._handlers.get(EventType.DATAFILE_UPDATE)
        if handler is not None:
            source = DataFileUpdateEvent.Source.STREAMING if announced else DataFileUpdateEvent.Source.POLLING
            event = DataFileUpdateEvent(source, self._evaluation.ruleset.data_file.date_modified)
            self._dispatcher.post(lambda: handler.on_update(event))
        if announced and self._on_streamed_update is not None:
            self._dispatcher.post(self._on_streamed_update)

    def _on_request(self, request: Request, outcome: Response | TransportError, seconds: float) -> None:
        handler = self._handlers.get(EventType.HTTP_REQUEST)
        if handler is not None:
            self._dispatcher.post(lambda: _tell_request(handler, request, outcome, int(seconds * 1000)))


def _tell_request(handler: Any, request: Request, outcome: Response | TransportError, millis: int) -> None:
    reasons = HttpRequestFailure.Reason
    if isinstance(outcome, TransportError):
        timed_out = outcome.kind is TransportErrorKind.TIMEOUT
        failure = HttpRequestFailure(reasons.CANCELLED if timed_out else reasons.EXCEPTION, cause=outcome)
        handler.on_request_failed(request.kind, failure, millis)
    elif outcome.is_success or outcome.status in (304, 403):
        handler.on_request_succeeded(request.kind, outcome.status, millis)
    else:
        handler.on_request_failed(request.kind, HttpRequestFailure(reasons.HTTP_STATUS, outcome.status), millis)


def _service(endpoints: Endpoints, settings: Settings) -> Source:
    service = ServiceSource(endpoints, settings.refresh_interval_s, settings.timeout_s)
    if settings.data_dir is None:
        return service
    return KeptSource(service, settings.data_dir, endpoints.configuration(), settings.timeout_s)


def _make_store(given: object | None, site_code: str, session_s: float, max_visitors: int) -> VisitorStore:
    if given is None:
        return MemoryStore(session_s, max_visitors)
    if not isinstance(given, VisitorStore):
        raise KameleoonError(f"visitor_store: {type(given).__name__} does not have the methods of a VisitorStore")
    if isinstance(given, RedisStore):
        given.bind(site_code, session_s)
    return given


def _cookie_text(value: object) -> str | None:
    text = getattr(value, "value", value)
    return text if isinstance(text, str) else None


def _deprecated_identifier() -> None:
    warnings.warn(
        "the argument is_unique_identifier is deprecated, add UniqueIdentifier() with add_data() instead",
        DeprecationWarning,
        stacklevel=3,
    )


def _deprecated(name: str, instead: str) -> None:
    warnings.warn(f"{name}() is deprecated, use {instead}()", DeprecationWarning, stacklevel=3)
