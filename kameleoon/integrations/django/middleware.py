"""The middleware, for WSGI and for ASGI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.utils.cache import patch_vary_headers

from kameleoon.cookies import VISITOR_COOKIE
from kameleoon.integrations.django import conf
from kameleoon.integrations.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase


class KameleoonMiddleware:
    """
    Puts the `Visitor` into ``request.kameleoon`` and keeps his code in a cookie.

    Nothing happens until a view uses ``request.kameleoon``; then the response carries the cookie, as far as consent allows, and
    ``Vary: Cookie``. ``request.user`` and the session are never touched.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Handle one request."""
        if self._is_async:
            return self._handle_async(request)
        visitor = _put_visitor(request)
        response: HttpResponseBase = self.get_response(request)
        _set_cookie(visitor, response)
        return response

    async def _handle_async(self, request: HttpRequest) -> HttpResponseBase:
        # A view on the event loop cannot wait for the configuration, so the first request does before it.
        client = conf.lazy_client()
        if not client.is_made:
            await client.get_async()
        visitor = _put_visitor(request)
        response: HttpResponseBase = await self.get_response(request)
        _set_cookie(visitor, response)
        return response


def _put_visitor(request: HttpRequest) -> Visitor:
    visitor = Visitor(conf.get_client, request.META.get("HTTP_COOKIE"), lambda: _default(request))
    request.kameleoon = visitor  # type: ignore[attr-defined]
    return visitor


def _default(request: HttpRequest) -> str | None:
    default = conf.default_visitor_code()
    code: str | None = default(request) if callable(default) else default
    return code


def _set_cookie(visitor: Visitor, response: HttpResponseBase) -> None:
    if not visitor.is_used:
        return
    patch_vary_headers(response, ("Cookie",))
    cookie = visitor.cookie()
    if cookie is not None:
        response.cookies[VISITOR_COOKIE] = cookie
