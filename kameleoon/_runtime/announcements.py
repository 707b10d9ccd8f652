"""What applications are told of: a new configuration, a request that was made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kameleoon._transport.message import TransportError, TransportErrorKind
from kameleoon._workers.dispatcher import Dispatcher
from kameleoon.events import DataFileUpdateEvent, EventHandler, EventType, HttpRequestFailure
from kameleoon.logging.kameleoon_logger import KameleoonLogger

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon._transport.message import Request, Response

_NO_FAILURES = frozenset({304, 403})
"""Statuses that say something about the configuration rather than that a request failed."""


class Announcements:
    """
    The application's handlers, called on a thread of their own.

    Args:
        thread_name: That thread's name.
        threaded: Whether there may be one; else handlers are called where something happens.

    Attributes:
        on_streamed_update: Called after each configuration that a stream announced.
    """

    def __init__(self, thread_name: str, *, threaded: bool) -> None:
        self._thread_name = thread_name
        self._is_threaded = threaded
        self._dispatcher = Dispatcher(thread_name, threaded=threaded)
        self._handlers: dict[EventType, Any] = {}
        self.on_streamed_update: Callable[[], None] | None = None

    def set_handler(self, event_type: EventType, handler: EventHandler | None) -> None:
        """Have *handler* called for events of a type; ``None`` ends it. What cannot be a handler is refused with a log entry."""
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

    def configuration_changed(self, date_modified: int, *, announced: bool) -> None:
        """
        Tell of a configuration put in force.

        Args:
            date_modified: Its date, in milliseconds since 1970.
            announced: Whether a stream told of it.
        """
        handler = self._handlers.get(EventType.DATAFILE_UPDATE)
        if handler is not None:
            source = DataFileUpdateEvent.Source.STREAMING if announced else DataFileUpdateEvent.Source.POLLING
            event = DataFileUpdateEvent(source, date_modified)
            self._dispatcher.post(lambda: handler.on_update(event))
        if announced and self.on_streamed_update is not None:
            self._dispatcher.post(self.on_streamed_update)

    def request_made(self, request: Request, outcome: Response | TransportError, seconds: float) -> None:
        """Tell of a request, what came of it, and how long it took."""
        handler = self._handlers.get(EventType.HTTP_REQUEST)
        if handler is not None:
            self._dispatcher.post(lambda: _tell_request(handler, request, outcome, int(seconds * 1000)))

    def after_fork_in_child(self) -> None:
        """Start anew: the parent's thread is not here, and tells there what happened there."""
        self._dispatcher = Dispatcher(self._thread_name, threaded=self._is_threaded)

    def stop(self) -> None:
        """End the thread."""
        self._dispatcher.stop()


def _tell_request(handler: Any, request: Request, outcome: Response | TransportError, millis: int) -> None:
    reasons = HttpRequestFailure.Reason
    if isinstance(outcome, TransportError):
        timed_out = outcome.kind is TransportErrorKind.TIMEOUT
        failure = HttpRequestFailure(reasons.CANCELLED if timed_out else reasons.EXCEPTION, cause=outcome)
        handler.on_request_failed(request.kind, failure, millis)
    elif outcome.is_success or outcome.status in _NO_FAILURES:
        handler.on_request_succeeded(request.kind, outcome.status, millis)
    else:
        handler.on_request_failed(request.kind, HttpRequestFailure(reasons.HTTP_STATUS, outcome.status), millis)
