"""ASGI: the visitor code of a request or websocket, and the cookie of its response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from kameleoon.cookies import code_sent, header_with, is_visitor_cookie, parse_header
from kameleoon.integrations.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from kameleoon.client import KameleoonClient

    # The shapes of the ASGI specification; frameworks have names of their own for them.
    Scope: TypeAlias = MutableMapping[str, Any]
    Message: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]
    ASGIApplication: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

VISITOR_KEY: Final = "kameleoon.visitor"
"""Where the `Visitor` is in the scope of a request."""

_ANSWERS: Final = ("http.response.start", "websocket.accept")
"""Messages that carry the response's headers."""


class KameleoonASGIMiddleware:
    """
    Gives every HTTP request and websocket a visitor code and keeps it in a cookie.

    Applications find the `Visitor` in ``scope["kameleoon.visitor"]``, and the code in the visitor cookie as if the browser had sent it.
    The cookie is written anew with each response, as far as the visitor's consent allows when the response starts; it takes the
    place of a visitor cookie that the application set itself. No request is held up for the network, but for the round trip to a visitor
    store that is shared; the loop goes on meanwhile, and the request's evaluations then wait for nothing.

    A cookie that cannot be used (empty, longer than 255 characters, with control characters) counts as absent.

    Args:
        app: The ASGI application.
        client: The client, or a callable that gives it, asked with each request.
        default_visitor_code: The code of visitors without a cookie: a text, or a callable that is asked for each of them; a
            random one without it.
    """

    def __init__(
        self,
        app: ASGIApplication,
        client: KameleoonClient | Callable[[], KameleoonClient],
        default_visitor_code: str | Callable[[], str] | None = None,
    ) -> None:
        self._app = app
        self._get_client = client if callable(client) else lambda: client
        self._default_visitor_code = default_visitor_code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; what is neither HTTP nor a websocket passes through."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        header = cookie_header(scope)
        visitor = Visitor(self._get_client, header, self._default_visitor_code)
        sent = code_sent(parse_header(header))
        if sent is not None:
            await visitor.client.prepare_async(sent)
        code = visitor.code
        scope = {**scope, VISITOR_KEY: visitor}
        if sent is None:
            await visitor.client.prepare_async(code)
            scope["headers"] = _headers_with(scope, header_with(header, code))

        async def send_with_cookie(message: Message) -> None:
            if message["type"] in _ANSWERS:
                cookie = visitor.cookie()
                if cookie is not None:
                    headers = [pair for pair in message.get("headers", ()) if not _is_ours(*pair)]
                    headers.append((b"set-cookie", cookie.OutputString().encode("latin-1")))
                    message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_with_cookie)


def cookie_header(scope: Scope) -> str:
    """Give the ``Cookie`` header of a scope, its bytes read as Latin-1; HTTP/2 may have split it."""
    return "; ".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie")


def _headers_with(scope: Scope, cookies: str) -> list[tuple[bytes, bytes]]:
    others = [(name, value) for name, value in scope["headers"] if name != b"cookie"]
    return [*others, (b"cookie", cookies.encode("latin-1"))]


def _is_ours(name: bytes, value: bytes) -> bool:
    return name.lower() == b"set-cookie" and is_visitor_cookie(value.decode("latin-1"))
