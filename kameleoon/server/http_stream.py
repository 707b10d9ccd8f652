"""
Event streams: changes of the project for SDKs, changes and arriving events for the page.

Source:
    network.md, section 4.4; automation-api.md, section 10.
"""

from __future__ import annotations

import asyncio
import json
import math
from typing import TYPE_CHECKING

from aiohttp import web

from kameleoon.server.answers import known_site, site_code_of
from kameleoon.server.service import SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon.server.broadcast import _T, Broadcast

MAX_STREAMS = 1000
_EVENT = "configuration-update-event"


async def give_changes(request: web.Request) -> web.StreamResponse:
    """
    ``GET /sse``: one ``configuration-update-event`` with the time in ms for every change, also for a window of a rule that opens or
    closes; a comment now and then keeps it open.
    """
    site = known_site(request.app[SERVICE], site_code_of(request))
    return await stream(
        request,
        site.changed,
        lambda moment_ms: f"event: {_EVENT}\ndata: {json.dumps({'ts': moment_ms})}\n\n",
        site.edge_in_s,
    )


async def stream(
    request: web.Request,
    source: Broadcast[_T],
    render: Callable[[_T], str],
    due_in_s: Callable[[], float] = lambda: math.inf,
) -> web.StreamResponse:
    """
    Send what *source* tells until the client goes or the server ends.

    Args:
        request: Whose answer this is.
        source: What there is to tell.
        render: Makes an event of it; an empty text is none.
        due_in_s: Asked before each wait, and again after so many seconds, for what *source* tells only when somebody looks.

    Raises:
        web.HTTPServiceUnavailable: `MAX_STREAMS` are open.
    """
    if source.listeners >= MAX_STREAMS:
        raise web.HTTPServiceUnavailable
    keep_alive_s = request.app[SERVICE].keep_alive_s
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    )
    with source.listening() as queue:
        await response.prepare(request)
        # A comment at once, so that whoever asks sees that the stream is open.
        text = ": open\n\n"
        try:
            while True:
                if text:
                    await response.write(text.encode())
                try:
                    message = await asyncio.wait_for(queue.get(), min(keep_alive_s, due_in_s()))
                except TimeoutError:
                    text = ": still here\n\n"
                    continue
                if message is None:
                    return response
                text = render(message)
        except ConnectionError:
            return response
