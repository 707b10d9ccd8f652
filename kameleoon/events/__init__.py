"""
What applications subscribe to with ``client.set_event_handler(EventType.X, handler)``.

One module per subject: what a configuration update tells, what an HTTP request tells, and the kinds of events.
"""

from kameleoon.events.data_file_update import DataFileUpdateEvent, DataFileUpdateHandler
from kameleoon.events.event_handler import EventHandler
from kameleoon.events.event_type import EventType
from kameleoon.events.http_request import HttpRequestFailure, HttpRequestHandler, RequestType

__all__ = [
    "DataFileUpdateEvent",
    "DataFileUpdateHandler",
    "EventHandler",
    "EventType",
    "HttpRequestFailure",
    "HttpRequestHandler",
    "RequestType",
]
