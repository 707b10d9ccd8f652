"""A collector on the loopback that refuses what the real one drops in silence."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

from kameleoon.destinations.webhook import verify

sys.path.insert(0, str(Path(__file__).parents[1] / "transport"))
from loopback import Loopback


@dataclass
class Collector(Loopback):
    """
    Takes ``/events``, ``/events/batch`` (unless *has_batch* is false) and a signed ``/hook``.

    Attributes: `faults` are answers ``(status, headers)`` to give first; `bodies` are bodies taken; `events` the events in them; `refused`
    says why others were not; `hook_now_s` is the time at which signatures are checked, ``None`` for now; `targets` is every path with its query; `poison` refuses bodies that hold it.
    """

    site_id: str = "12 34"
    source_key: str = "s/k&="
    hook_secret: str = "hook secret"
    hook_now_s: float | None = 1_700_000_000
    has_batch: bool = True
    poison: bytes | None = None
    faults: list = field(default_factory=list)
    bodies: list = field(default_factory=list)
    events: list = field(default_factory=list)
    refused: list = field(default_factory=list)
    targets: list = field(default_factory=list)
    headers: list = field(default_factory=list)

    def respond(self, method, target, headers, body):
        """Answer one request; what the answer's body says is nobody's business."""
        self.targets.append(f"{method} {target}")
        self.headers.append(headers)
        status, extra = self.faults.pop(0) if self.faults else (self.take(method, target, body), {})
        return status, extra, b"not for you!"

    def take(self, method, target, body):
        """Take one request, or refuse it."""
        path, _, asked = target.partition("?")
        headers = self.headers[-1]
        if method != "POST" or headers.get("content-type") != "application/json":
            return self.refuse(400, f"{method} {headers.get('content-type')}")
        if self.poison and self.poison in body:
            return self.refuse(400, "poison")
        if path == "/hook":
            return self.hook(headers, body)
        pairs = parse_qsl(asked, strict_parsing=True)
        by_header = headers.get("authorization") == f"Bearer {self.source_key}" and pairs == [("tc_s", self.site_id)]
        if pairs != [("tc_s", self.site_id), ("token", self.source_key)] and not by_header:
            return self.refuse(403, f"query {asked}")
        if path == "/events":
            if len(body) > 32_000:
                return self.refuse(400, "event too large")
            return self.keep(body, [json.loads(body)])
        if path == "/events/batch" and self.has_batch:
            if len(body) > 500_000:
                return self.refuse(400, "batch too large")
            root = json.loads(body)
            return self.keep(body, root["batch"]) if set(root) == {"batch"} else self.refuse(400, "no batch")
        return self.refuse(404, path)

    def hook(self, headers, body):
        """Take a signed request."""
        if not verify(self.hook_secret, headers, body, now_s=self.hook_now_s or time.time()):
            return self.refuse(401, "signature")
        return self.keep(body, json.loads(body)["events"], is_hook=True)

    def keep(self, body, events, *, is_hook=False):
        """Take events that have what they need."""
        for event in events:
            if not is_hook and (fault := fault_of(event)):
                return self.refuse(400, f"{fault} of {event}")
        self.bodies.append(body)
        self.events += events
        return 200


def fault_of(event):
    """What the real collector would drop an event for, without a word; ``None`` for nothing."""
    context, user = event.get("context", {}), event.get("user", {})
    timestamp, categories = context.get("event_timestamp"), user.get("consent_categories", [])
    for fault, is_there in {
        "name": not event.get("event_name"),
        "id": not isinstance(context.get("event_id"), str) or not context["event_id"],
        "time": type(timestamp) is not int or not 10**12 <= timestamp < 10**13,
        "visitor": not isinstance(user.get("consistent_anonymous_id"), str) or not user["consistent_anonymous_id"],
        "categories": not isinstance(categories, list) or not all(isinstance(one, str) for one in categories),
        "version 1": bool({"properties", "event_id", "event_timestamp", "page", "device", "app"} & set(event)),
        "currency": ("value" in event or "revenue" in event) and not event.get("currency"),
        "size": len(json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()) > 32_000,
    }.items():
        if is_there:
            return fault
    return None
