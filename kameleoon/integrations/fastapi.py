"""FastAPI and Starlette: a client that lives as long as the application, and the visitor as a dependency."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, cast

from fastapi import Depends
from starlette.requests import HTTPConnection  # noqa: TC002 - FastAPI reads the annotation

from kameleoon.integrations.asgi import VISITOR_KEY, KameleoonASGIMiddleware
from kameleoon.integrations.settings import DEFAULT_WAIT_MS
from kameleoon.integrations.visitor import Visitor as RequestVisitor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.applications import Starlette

    from kameleoon.client import KameleoonClient


class Kameleoon:
    """
    Gives an application a client while it runs, and each of its requests and websockets the visitor.

        app = FastAPI()
        Kameleoon(app, lambda: KameleoonClientFactory.create("my-site-code", KameleoonClientConfig("id", "secret")))

    When the application starts, the client is made and its configuration waited for; when it ends, what is left is sent and the
    client closed. A lifespan of the application itself runs inside of that. For an application that puts its lifespan together
    itself, leave *app* out, use `lifespan`, and add `KameleoonASGIMiddleware` with ``client=kameleoon.get_client``.

    Args:
        app: The application, FastAPI's or Starlette's.
        make_client: Makes the client; called when the application starts, so that a server's workers each have their own.
        default_visitor_code: As `KameleoonASGIMiddleware`.
        wait_init_millisecond: How long the start waits for the configuration.
    """

    def __init__(
        self,
        app: Starlette | None,
        make_client: Callable[[], KameleoonClient],
        *,
        default_visitor_code: str | Callable[[], str] | None = None,
        wait_init_millisecond: int = DEFAULT_WAIT_MS,
    ) -> None:
        self._make_client = make_client
        self._wait_ms = wait_init_millisecond
        self._client: KameleoonClient | None = None
        if app is not None:
            app.add_middleware(
                cast("Any", KameleoonASGIMiddleware), client=self.get_client, default_visitor_code=default_visitor_code
            )
            inner = app.router.lifespan_context

            @asynccontextmanager
            async def lifespan(app: Starlette) -> AsyncIterator[Any]:
                async with AsyncExitStack() as stack:
                    await stack.enter_async_context(self.lifespan(app))
                    yield await stack.enter_async_context(inner(app))

            app.router.lifespan_context = lifespan

    def get_client(self) -> KameleoonClient:
        """Give the client. Without a lifespan (a test client that runs none) it is made now, and nothing is waited for."""
        if self._client is None:
            self._client = self._make_client()
        return self._client

    @asynccontextmanager
    async def lifespan(self, _app: Any = None) -> AsyncIterator[None]:
        """Have the client from here to the end of the ``async with``."""
        client = self.get_client()
        try:
            await client.wait_init_async(self._wait_ms)
            yield
        finally:
            self._client = None
            await client.aclose()


async def current_visitor(connection: HTTPConnection) -> RequestVisitor:
    """
    Give the visitor of a request or websocket.

    Raises:
        LookupError: `KameleoonASGIMiddleware` is not installed.
    """
    visitor = connection.scope.get(VISITOR_KEY)
    if visitor is None:
        raise LookupError("There is no visitor: install kameleoon.integrations.fastapi.Kameleoon(app, …)")
    return cast("RequestVisitor", visitor)


Visitor = Annotated[RequestVisitor, Depends(current_visitor)]
"""The type of a parameter that takes the visitor: ``async def view(visitor: Visitor)``."""
