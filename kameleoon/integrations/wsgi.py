"""WSGI: the visitor code of a request, and the cookie of its response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kameleoon.cookies import (
    MAX_CODE_LENGTH,
    MAX_COOKIE_LENGTH,
    SIMULATION_COOKIE,
    VISITOR_COOKIE,
    code_sent,
    header_with,
    is_usable,
    is_visitor_cookie,
    parse_header,
    visitor_code_in,
)
from kameleoon.integrations.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from _typeshed import OptExcInfo

    from kameleoon.client import KameleoonClient

VISITOR_CODE_KEY: Final = "kameleoon.visitor_code"
"""Where the visitor code is in the environment of a request."""

VISITOR_KEY: Final = "kameleoon.visitor"
"""Where the `Visitor` is in the environment of a request."""


class KameleoonWSGIMiddleware:
    """
    Gives every request a visitor code and keeps it in a cookie.

    Views find the code in ``environ["kameleoon.visitor_code"]``, and in the visitor cookie as if the browser had sent it, so that
    ``client.get_visitor_code(cookies_readonly=request.cookies)`` gives the same; ``environ["kameleoon.visitor"]`` is the `Visitor`
    with flags and consent. The cookie is written anew with each response, as far as the visitor's consent allows when the response
    starts; it takes the place of a visitor cookie that the application set itself.

    A cookie that is empty, longer than browsers keep (4096 characters) or holds control characters counts as absent.

    Args:
        app: The WSGI application.
        client: The client.
        default_visitor_code: The code of visitors without a cookie: a text, or a callable that is asked for each of them; a
            random one without it.

    Raises:
        VisitorCodeInvalid: When called: the cookie holds 256 to 4096 characters, or the default is empty or too long.

    Source:
        ``tests/vectors/cookies.json``, operation ``wsgi``.
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
        given = code_sent(cookies) or _too_long(visitor_code_in(cookies))
        default = None if given is not None else self._default_visitor_code
        read = {SIMULATION_COOKIE: cookies[SIMULATION_COOKIE]} if SIMULATION_COOKIE in cookies else {}
        if given is not None:
            read[VISITOR_COOKIE] = given
        code = self._client.get_visitor_code(
            cookies_readonly=read, default_visitor_code=default() if callable(default) else default
        )
        if given is None:
            environ["HTTP_COOKIE"] = header_with(header, code)
        environ[VISITOR_CODE_KEY] = code
        environ[VISITOR_KEY] = Visitor(lambda: self._client, environ["HTTP_COOKIE"])

        def start(
            status: str,
            headers: list[tuple[str, str]],
            exc_info: OptExcInfo | None = None,
            /,
        ) -> Callable[[bytes], object]:
            cookie = self._client.visitor_cookie(code, was_sent=given is not None)
            if cookie is not None:
                headers = [header for header in headers if not _is_ours(*header)]
                headers.append(("Set-Cookie", cookie))
            return start_response(status, headers) if exc_info is None else start_response(status, headers, exc_info)

        return self._app(environ, start)


def _too_long(code: str | None) -> str | None:
    """Give *code* back if it is one that browsers keep and that only its length makes unusable: such a one raises, as recorded."""
    if code is None or len(code) > MAX_COOKIE_LENGTH or not is_usable(code[:MAX_CODE_LENGTH]):
        return None
    return code


def _is_ours(name: str, value: str) -> bool:
    return name.lower() == "set-cookie" and is_visitor_cookie(value)
