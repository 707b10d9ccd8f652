"""Where configuration comes from in place of the service: a Convert project, or a source that an application writes itself."""

from kameleoon._sources.convert import ConvertSource
from kameleoon._sources.protocol import Source
from kameleoon._transport.configuration import Fetched
from kameleoon._transport.flow import Flow, exchange
from kameleoon._transport.message import FetchFailed, Pause, Request, Response, TransportError

__all__ = [
    "ConvertSource",
    "FetchFailed",
    "Fetched",
    "Flow",
    "Pause",
    "Request",
    "Response",
    "Source",
    "TransportError",
    "exchange",
]
