"""WSGI: the visitor code of a request, and the cookie of its response."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kameleoon.cookies import (
    MAX_CODE_LENGTH,
    SIMULATION_COOKIE,
    VISITOR_COOKIE,
    is_usable,
    parse_header,
    visitor_code_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from _typeshed import OptExcInfo

    from kameleoon.client import KameleoonClient

MAX_COOKIE_LENGTH = 4096
"""What browsers keep of one cookie, in bytes."""

VISITOR_CODE_KEY = "kameleoon.visitor_code"
"""Where the visitor code is in the environment of a request."""


class KameleoonWSGIMiddleware:
    """
    Gives every request a visitor code and keeps it in a cookie.

    Views find the code in ``environ["kameleoon.visitor_code"]``, and in the visitor cookie as if the browser had sent it, so that
    ``client.get_visitor_code(cookies_readonly=request.cookies)`` gives the same. The cookie is written anew with each response, as
    far as the visitor's consent allows at that moment.

    Args:
        app: The WSGI application.
        client: The client.
        default_visitor_code: The code of visitors without a cookie: a text, or a callable that is asked for each of them; a
            random one without it.
    """

    def __init__(
        self,
        app: WSGIApplication,
        client: KameleoonClient,
        default_visitor_code: str | Callable[[], str] | None = None,
    ) -> None:
        self._app = app
        self._client = client
        self._default_visitor_code = default_visitor_code

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Handle one request."""
        header = environ.get("HTTP_COOKIE", "")
        cookies = parse_header(header)
        given = visitor_code_in(cookies)
        # Up to the size that browsers keep, an over-long code raises as recorded; what is no browser's is no code at all.
        if given is not None and (len(given) > MAX_COOKIE_LENGTH or not is_usable(given[:MAX_CODE_LENGTH])):
            given = None
            del cookies[VISITOR_COOKIE]
        code = self._client.get_visitor_code(
            cookies_readonly={name: cookies[name] for name in (VISITOR_COOKIE, SIMULATION_COOKIE) if name in cookies},
            default_visitor_code=self._default(given),
        )
        environ[VISITOR_CODE_KEY] = code
        if given is None:
            own = f"{VISITOR_COOKIE}={code}"
            others = "; ".join(
                part for part in header.split("; ") if part and not part.lstrip().startswith(f"{VISITOR_COOKIE}=")
            )
            environ["HTTP_COOKIE"] = f"{others}; {own}" if others else own

        def start(
            status: str,
            headers: list[tuple[str, str]],
            exc_info: OptExcInfo | None = None,
            /,
        ) -> Callable[[bytes], object]:
            cookie = self._client.visitor_cookie(code, was_sent=given is not None)
            sent = headers if cookie is None else [*headers, ("Set-Cookie", cookie)]
            return start_response(status, sent) if exc_info is None else start_response(status, sent, exc_info)

        return self._app(environ, start)

    def _default(self, given: str | None) -> str | None:
        if given is not None:
            return None
        default = self._default_visitor_code
        return default() if callable(default) else default
