"""The kinds of events and what each asks of its handler."""

from enum import Enum

from kameleoon.events.data_file_update import DataFileUpdateHandler
from kameleoon.events.event_handler import EventHandler
from kameleoon.events.http_request import HttpRequestHandler


class EventType(Enum):
    """
    Kinds of events; ``str()`` gives the name.

    Attributes:
        handler_type: The protocol that a handler follows.
        required_methods: Names of the methods it must have.
    """

    DATAFILE_UPDATE = (DataFileUpdateHandler, ("on_update",))
    HTTP_REQUEST = (HttpRequestHandler, ("on_request_succeeded", "on_request_failed"))

    def __init__(self, handler_type: type[EventHandler], required_methods: tuple[str, ...]) -> None:
        self.handler_type = handler_type
        self.required_methods = required_methods

    def __str__(self) -> str:
        return self.name
