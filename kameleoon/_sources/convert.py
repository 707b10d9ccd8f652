"""A Convert project's configuration, fetched over HTTP."""

from __future__ import annotations

import reprlib
import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

from kameleoon._convert.access import PROJECT, TRACKING_BASE, headers, key_path
from kameleoon._convert.bucketing import DEFAULT_MAX_TRAFFIC, DEFAULT_SEED, Bucketing
from kameleoon._convert.read import ProjectRefused, identify
from kameleoon._transport.address import is_address
from kameleoon._transport.configuration import Fetched
from kameleoon._transport.deadline import Deadline
from kameleoon._transport.encoding import query
from kameleoon._transport.flow import exchange
from kameleoon._transport.message import FetchFailed, Request, TransportError
from kameleoon._transport.retry import parse_retry_after
from kameleoon.events import RequestType
from kameleoon.exceptions import ConfigException

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kameleoon._convert.rules import Provider
    from kameleoon._transport.flow import Flow
    from kameleoon._transport.message import Response

NAME = "convert"
"""Of the source, and of whatever it finds."""

CONFIG_BASE = "https://cdn-4.convertexperiments.com/api/v1"

_ATTEMPTS = 2
_LONGEST_S = 1e9
_IDS = ("account_id", "project_id", "preview")
_SECRETS = frozenset({"sdk_key", "secret", "debug_token"})


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_header(value: object) -> bool:
    return value is None or (isinstance(value, str) and value.isascii() and value.isprintable())


def _is_base(value: object) -> bool:
    # The name in brackets stands for a number; an address of the sixth version would have others.
    return isinstance(value, str) and is_address(value.replace(PROJECT, "0")) and not {"?", "#"} & {*value}


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_hash_setting(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32


def _is_seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < _LONGEST_S


_OPTIONS: tuple[tuple[tuple[str, ...], str, Callable[[object], bool]], ...] = (
    (("sdk_key", "environment"), "a text", _is_text),
    (_IDS, "a text or a whole number", _is_text),
    (("secret", "debug_token"), "a text of the characters that a header can have", _is_header),
    (("base_url", "tracking_base_url"), "an http or https address without query", _is_base),
    (("repeats_transactions", "enriches", "excludes_experience"), "true or false", _is_flag),
    (("hash_seed", "max_traffic"), "a whole number from 0 to 4294967295", _is_hash_setting),
    (("interval_s", "timeout_s"), "a number of seconds above 0", _is_seconds),
)
"""``(options, what is allowed, whether a value is)``."""

_NO_ACCESS = frozenset({401, 403, 404})


@dataclass(frozen=True, slots=True)
class ConvertSource:
    """
    `Source` that asks Convert for a project's configuration.

    Neither key, secret nor token gets into a message.

    Attributes:
        sdk_key: The project's key; without one give *account_id* and *project_id*.
        secret: The key's secret, if it has one.
        environment: Asks for the experiences of that environment only; the client's without it.
        account_id: In place of a key.
        project_id: In place of a key.
        debug_token: Brings drafts and paused experiences too.
        preview: Id of an experience: only that one is asked for, past the cache.
        base_url: Of the configuration service.
        tracking_base_url: Where exposures and conversions go; ``[project_id]`` in it is replaced.
        repeats_transactions: Whether the goal data of a goal that a visitor reached before are told again.
        enriches: Whether Convert fills in what it stored itself and leaves out exposures that it knows.
        hash_seed: Of the draw, as in the settings of Convert's SDKs; 0 stands for the usual one, as there.
        max_traffic: Places of the draw, as in the settings of Convert's SDKs; 0 stands for the usual number, as there.
        excludes_experience: Whether the draw leaves the experience out, so that a visitor has the same place in all of them.
        providers: ``{rule type: function}`` for the rule types that Convert's websites have and other projects do not, such as
            ``country``. A function is given ``{name: value}`` of what is known of the visitor and returns the value to compare; a
            rule for which it raises does not match.
        interval_s: Seconds between two questions.
        timeout_s: Seconds for one question, its second attempt included.
        clock: Monotonic seconds.

    Raises:
        ConfigException: Neither a key nor both ids are given, or a value cannot stand in a header.
    """

    name: ClassVar[str] = NAME

    sdk_key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    environment: str | None = None
    account_id: str | int | None = None
    project_id: str | int | None = None
    debug_token: str | None = field(default=None, repr=False)
    preview: str | int | None = None
    base_url: str = CONFIG_BASE
    tracking_base_url: str = TRACKING_BASE
    repeats_transactions: bool = False
    enriches: bool = True
    hash_seed: int = DEFAULT_SEED
    max_traffic: int = DEFAULT_MAX_TRAFFIC
    excludes_experience: bool = False
    providers: Mapping[str, Provider] = field(default_factory=dict, repr=False, compare=False)
    interval_s: float = 300.0
    timeout_s: float = 10.0
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    def __post_init__(self) -> None:
        for name in _IDS:  # in a settings file they are numbers unless somebody thinks of quotes
            value = getattr(self, name)
            if isinstance(value, int) and not isinstance(value, bool):
                object.__setattr__(self, name, str(value))
        for names, allowed, is_allowed in _OPTIONS:
            for name in names:
                value = getattr(self, name)
                if not is_allowed(value):
                    shown = reprlib.repr(value)
                    if name in _SECRETS:
                        shown = "this one" if isinstance(value, str) else f"of type {type(value).__name__}"
                    raise ConfigException(f"ConvertSource: {name} must be {allowed}, not {shown}")
        if not self.sdk_key and not (self.account_id and self.project_id):
            raise ConfigException("ConvertSource needs sdk_key, or account_id and project_id")
        try:
            self._request(None)
        except ValueError:
            raise ConfigException("ConvertSource: no request can be made of key and environment") from None

    @property
    def key(self) -> str:
        """The key, or what stands for it: ``account/project``."""
        return self.sdk_key or f"{self.account_id}/{self.project_id}"

    @property
    def bucketing(self) -> Bucketing:
        """How visitors' places are drawn."""
        return Bucketing(self.hash_seed, self.max_traffic, self.excludes_experience)

    @property
    def identity(self) -> str:
        """What tells the configuration from others on disk. Nothing secret can be read from it."""
        parts = [self.base_url, self.key, self.environment or "", self.debug_token or "", str(self.preview or "")]
        return f"{sha256(chr(0).join(parts).encode()).hexdigest()}/{NAME}"

    def fetch(self, known: Fetched | None, ts: int | None) -> Flow[Fetched | None]:
        """
        Ask once, and a second time at once when nothing came back or the service failed.

        Raises:
            FetchFailed: There is no answer, or one that is no project: another status than 200, no JSON, an error, no ids.
        """
        del ts  # Convert announces nothing.
        own = known if known is not None and known.source_name == self.name else None
        request = self._request(own)
        deadline = Deadline(self.clock, self.timeout_s)
        for attempts_left in reversed(range(_ATTEMPTS)):
            try:
                response = yield from exchange(deadline.limit(request))
            except TransportError as error:
                if attempts_left and deadline.remaining() > 0:
                    continue
                # The error's own text has the path, and so the key.
                raise FetchFailed(f"Convert's configuration: {error.kind.value}") from None
            asked_to_wait = parse_retry_after(response.headers.get("retry-after"), 0.0) is not None
            if response.status < 500 or asked_to_wait or not (attempts_left and deadline.remaining() > 0):
                return self._read(response, own)
        raise AssertionError("the last attempt returns or raises")

    def _request(self, own: Fetched | None) -> Request:
        fields = headers(self.secret)
        if self.debug_token:
            fields["convert-debug-token"] = self.debug_token
        if own is not None and own.revision:
            fields["If-None-Match"] = own.revision
        if own is not None and own.last_modified:
            fields["If-Modified-Since"] = own.last_modified
        # A cached answer would be one without drafts.
        is_uncached = bool(self.debug_token or self.preview)
        asked = query(
            [
                ("environment", self.environment),
                ("exp", None if self.preview is None else str(self.preview)),
                ("_conv_low_cache", "1" if is_uncached else None),
            ]
        )
        url = f"{self.base_url.rstrip('/')}/config/{key_path(self.key)}{f'?{asked}' if asked else ''}"
        return Request(
            RequestType.DATAFILE,
            "GET",
            url,
            headers=fields,
            timeout_s=self.timeout_s,
            # A token for drafts goes to nobody else; `Authorization` never does.
            follows_redirects=not self.debug_token,
        )

    def _read(self, response: Response, own: Fetched | None) -> Fetched | None:
        if response.status == 304 and own is not None:
            return None
        root, fault = _project(response)
        if fault:
            for confidential in filter(None, (self.sdk_key, self.secret, self.debug_token)):
                fault = fault.replace(confidential, "***")  # the service may repeat what it was given
            retry_after = response.headers.get("retry-after")
            raise FetchFailed(f"Convert's configuration: {fault}", status=response.status, retry_after=retry_after)
        if own is not None and own.body == response.body:
            return None
        return Fetched(
            response.body,
            root,
            self.name,
            last_modified=response.headers.get("last-modified"),
            revision=response.headers.get("etag"),
        )


def _project(response: Response) -> tuple[dict[str, Any], str]:
    """Give the decoded project, or what is wrong with the response."""
    if response.status in _NO_ACCESS:
        return {}, f"status {response.status}: the key is unknown, or its secret wrong or missing"
    if response.status != 200:
        return {}, f"status {response.status}"
    try:
        root = response.json()
        identify(root)
    except ProjectRefused as error:
        return {}, str(error)
    except ValueError as error:
        return {}, f"invalid JSON ({error})"
    return root, ""
