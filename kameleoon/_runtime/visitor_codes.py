"""Which visitor a request is of, and which cookie its response gets."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from kameleoon._runtime.evaluation import now_ms
from kameleoon._runtime.intake import check_code
from kameleoon._visitor.facts import Consented
from kameleoon.cookies import SIMULATION_COOKIE, VISITOR_COOKIE, CookiePolicy, repeated, visitor_code_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from http.cookies import Morsel, SimpleCookie

    from kameleoon._runtime.evaluation import Evaluation
    from kameleoon.config import Settings
    from kameleoon.stores import VisitorStore


class VisitorCodes:
    """
    Visitor codes in cookies, as far as consent allows them.

    Args:
        settings: For the cookies' attributes and what a refusal does to them.
        store: Where consents are.
        evaluation: Tells whether consent is needed, and takes simulations.
    """

    def __init__(self, settings: Settings, store: VisitorStore, evaluation: Evaluation) -> None:
        self._store = store
        self._evaluation = evaluation
        self._policy = CookiePolicy(settings.top_level_domain, settings.cookie_secure, settings.cookie_samesite)
        self._removes_refused = settings.cookie_removed_on_refusal

    def of_request(
        self, readonly: Mapping[str, Any] | None, cookies: SimpleCookie | dict[str, Any] | None, default: str | None
    ) -> str:
        """The code of a request and its simulation, as `KameleoonClient.get_visitor_code` says. Raises as that."""
        given: Mapping[str, Any] = readonly or cookies or {}
        code = visitor_code_in(given)
        if code is not None:
            check_code(code)
        else:
            if default is not None:
                check_code(default)
                code = default
            else:
                code = secrets.token_hex(8)
            if cookies is not None and not self._must_wait_for_consent():
                cookies[VISITOR_COOKIE] = self._policy.morsel(code, time.time())
        simulation = _text(given.get(SIMULATION_COOKIE))
        if simulation:
            self._evaluation.simulate(code, simulation)
        return code

    def set_consent(self, code: str, consent: bool, cookies: SimpleCookie | dict[str, Any] | None) -> None:
        """Remember the visitor's word and write the cookie that follows from it, as `KameleoonClient.set_legal_consent` says."""
        self._store.write(code, [Consented(bool(consent))], now_ms())
        if cookies is not None:
            if consent:
                cookies[VISITOR_COOKIE] = self._policy.morsel(code, time.time())
            elif self._removes_refused:
                cookies[VISITOR_COOKIE] = self._policy.removal(time.time())

    def consent(self, code: str) -> bool | None:
        """What the visitor said; ``None`` when nothing is known."""
        visitor = self._store.peek(code)
        return None if visitor is None else visitor.record.consent

    def morsel(self, code: str, *, was_sent: bool) -> Morsel[str] | None:
        """The cookie that belongs to a response, as `KameleoonClient.visitor_morsel` says."""
        consent = self.consent(code)
        now_s = time.time()
        if consent is False and self._removes_refused:
            return self._policy.removal(now_s)
        if consent is True or not self._evaluation.ruleset.consent_required:
            return self._policy.morsel(code, now_s)
        if was_sent:
            return repeated(code)
        return None if self._must_wait_for_consent() else self._policy.morsel(code, now_s)

    def _must_wait_for_consent(self) -> bool:
        ruleset = self._evaluation.ruleset
        return ruleset.consent_required and not ruleset.has_delivery()


def _text(value: object) -> str | None:
    text = getattr(value, "value", value)
    return text if isinstance(text, str) else None
