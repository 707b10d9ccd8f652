"""Where exposures and conversions go beside the service: to Commanders Act, a webhook, a file, a function, or what an application writes."""

from kameleoon.destinations.commanders_act import CommandersAct
from kameleoon.destinations.events import Conversion, Exposure
from kameleoon.destinations.feed import ConsentRule, DeadLetter, Feed
from kameleoon.destinations.forwarder import Forwarder
from kameleoon.destinations.function import FunctionDestination
from kameleoon.destinations.json_lines import JsonLines
from kameleoon.destinations.posting import post
from kameleoon.destinations.protocol import Destination, EventRefused, Limits, Result, Verdict
from kameleoon.destinations.webhook import Webhook

__all__ = [
    "CommandersAct",
    "ConsentRule",
    "Conversion",
    "DeadLetter",
    "Destination",
    "EventRefused",
    "Exposure",
    "Feed",
    "Forwarder",
    "FunctionDestination",
    "JsonLines",
    "Limits",
    "Result",
    "Verdict",
    "Webhook",
    "post",
]
