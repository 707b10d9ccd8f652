"""
The visitor of one request: what every framework's views work with.

One object a request, made from the ``Cookie`` header and asked for the ``Set-Cookie`` of the response. It asks for the client and
finds the visitor code when it is first used, so that a request that has nothing to do with flags costs nothing and stays cacheable.
"""

from __future__ import annotations

import html
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final

from kameleoon.cookies import SIMULATION_COOKIE, VISITOR_COOKIE, code_sent, parse_header
from kameleoon.exceptions import FeatureEnvironmentDisabled, FeatureNotFound
from kameleoon.integrations.override import overrides
from kameleoon.logging.kameleoon_logger import KameleoonLogger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from http.cookies import Morsel

    from kameleoon.client import KameleoonClient
    from kameleoon.data import CustomData, Data, UniqueIdentifier
    from kameleoon.types.variation import Variation

_UNKNOWN_KEYS: Final = 1_000
"""Flag keys whose absence is remembered as told."""


class Html(str):
    """Markup that template engines (Jinja, Django) put into a page as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        """Give the markup, for template engines."""
        return self


class Visitor:
    """
    The visitor of one request.

    Flags never raise here: one that does not exist, is disabled in the environment, or cannot be known because the service was never
    reached, is off for everybody, and a warning tells so once. Use the client's own methods with `code` to have exceptions.

    Args:
        get_client: Gives the client; called when the visitor is first used.
        cookie_header: The request's ``Cookie`` header, its bytes read as Latin-1.
        default_visitor_code: The code of a visitor without a cookie: a text, or a callable that is asked when the visitor is first
            used; a random one without it.
    """

    def __init__(
        self,
        get_client: Callable[[], KameleoonClient],
        cookie_header: str | None,
        default_visitor_code: str | Callable[[], str | None] | None = None,
    ) -> None:
        self._get_client = get_client
        self._cookie_header = cookie_header
        self._default_visitor_code = default_visitor_code

    def __repr__(self) -> str:
        return f"Visitor({self.code!r})" if self.is_used else "Visitor(not used yet)"

    @cached_property
    def client(self) -> KameleoonClient:
        """The client."""
        return self._get_client()

    @cached_property
    def code(self) -> str:
        """
        The visitor code: from the cookie when it can be used, else the default, else a new one.

        Raises:
            VisitorCodeInvalid: The default is empty or longer than 255 characters.
        """
        cookies = parse_header(self._cookie_header)
        sent = code_sent(cookies)
        kept = {SIMULATION_COOKIE: cookies[SIMULATION_COOKIE]} if SIMULATION_COOKIE in cookies else {}
        if sent is not None:
            return self.client.get_visitor_code(cookies_readonly={**kept, VISITOR_COOKIE: sent})
        default = self._default_visitor_code
        return self.client.get_visitor_code(
            cookies_readonly=kept, default_visitor_code=default() if callable(default) else default
        )

    @property
    def is_used(self) -> bool:
        """Whether anything asked for the code, so that the response depends on the visitor and carries the cookie."""
        return "code" in self.__dict__

    def is_active(self, flag_key: str, *, track: bool = True) -> bool:
        """
        Whether a flag is on for the visitor.

        Args:
            flag_key: The flag.
            track: Whether the exposure is sent.
        """
        override = overrides.get(flag_key)
        if override is not None:
            return override.is_active
        try:
            return self.client.is_feature_active(self.code, flag_key, track=track)
        except FeatureNotFound as error:
            _tell_once(flag_key, str(error))
            return False

    def variation(self, flag_key: str, *, track: bool = True) -> Variation | None:
        """
        The variation the visitor gets.

        Args:
            flag_key: The flag.
            track: Whether the exposure is sent.

        Returns:
            ``None`` for a flag that does not exist, or is disabled or blocked by refused consent.
        """
        override = overrides.get(flag_key)
        if override is not None:
            return override
        try:
            return self.client.get_variation(self.code, flag_key, track=track)
        except FeatureEnvironmentDisabled:
            return None
        except FeatureNotFound as error:
            _tell_once(flag_key, str(error))
            return None

    def variable(self, flag_key: str, name: str, default: Any = None, *, track: bool = True) -> Any:
        """
        The value of a variable in the variation the visitor gets.

        Args:
            flag_key: The flag.
            name: The variable.
            default: Given when there is no variation or it has no such variable.
            track: Whether the exposure is sent.
        """
        variation = self.variation(flag_key, track=track)
        if variation is None or name not in variation.variables:
            return default
        return variation.variables[name].value

    def add_data(self, *data: Data | UniqueIdentifier | None, track: bool = True) -> None:
        """Add what is known of the visitor; see `KameleoonClient.add_data`."""
        self.client.add_data(self.code, *data, track=track)

    def track_conversion(
        self,
        goal_id: int | str,
        revenue: float = 0.0,
        *,
        negative: bool = False,
        metadata: Iterable[CustomData] | None = None,
    ) -> None:
        """Track that the visitor reached a goal; see `KameleoonClient.track_conversion`, also for what is raised."""
        self.client.track_conversion(self.code, goal_id, revenue, negative=negative, metadata=metadata)

    @property
    def consent(self) -> bool | None:
        """
        The visitor's consent as this process knows it; ``None`` when it was told nothing.

        Assign to it what the visitor said. An application of several processes keeps consent itself (in a cookie, an account) and
        assigns it with each request.
        """
        return self.client.legal_consent(self.code)

    @consent.setter
    def consent(self, given: bool) -> None:
        self.client.set_legal_consent(self.code, given)

    def tracking_script(self, nonce: str | None = None) -> str:
        """
        A ``<script>`` that tells the web engine in the page which variations the visitor was given; put it at the page's end.

        Args:
            nonce: The nonce of the page's Content-Security-Policy.

        Returns:
            Markup that template engines do not escape again.
        """
        code = self.client.get_engine_tracking_code(self.code)
        # What could end or comment out the script element may stand only inside of strings, where these mean the same.
        code = code.replace("</", "<\\/").replace("<!--", "\\x3C!--")
        attribute = "" if nonce is None else f' nonce="{html.escape(nonce, quote=True)}"'
        return Html(f"<script{attribute}>{code}</script>")

    def cookie(self) -> Morsel[str] | None:
        """
        The visitor cookie that belongs to the response.

        Returns:
            The cookie with its life renewed, or its removal, as `KameleoonClient.visitor_morsel` says; ``None`` when nothing used the
            visitor, or his consent is needed and not known.
        """
        return self.client.visitor_morsel(self.code, was_sent=False) if self.is_used else None


@lru_cache(_UNKNOWN_KEYS)
def _tell_once(flag_key: str, reason: str) -> None:
    KameleoonLogger.warning("The flag %s is off for everybody: %s", flag_key, reason)
