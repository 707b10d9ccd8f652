"""Convert on the loopback, stricter than the real one: what that drops in silence, this refuses."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

sys.path.insert(0, str(Path(__file__).parents[1] / "transport"))
from loopback import Loopback


@dataclass
class StrictConvert(Loopback):
    """
    Serves ``root`` to whoever has the key and its secret, and takes tracking.

    Attributes: `faults` are answers ``(status, headers)`` to give first; `seen` is ``[(method, target, headers, body)]``; `events` is
    what tracking took, ``[(visitor, event)]``; `refused` says why requests were refused.
    """

    root: dict
    key: str = "1001/2002"
    secret: str | None = None
    token: str | None = None
    etag: str | None = None
    faults: list = field(default_factory=list)
    seen: list = field(default_factory=list)
    events: list = field(default_factory=list)
    refused: list = field(default_factory=list)

    def refuse(self, status, reason):
        """Note why and answer."""
        return super().refuse(status, reason), json.dumps({"code": status, "message": reason, "fields": ""}).encode()

    def respond(self, method, target, headers, body):
        """Answer one request."""
        status, content, extra = (*self.take(method, target, headers, body), {})[:3]
        return status, extra, content

    def take(self, method, target, headers, body):
        """``(status, body)`` or ``(status, body, headers)`` for one request."""
        path, _, asked = target.partition("?")
        self.seen.append((method, target, headers, body))
        if self.faults:
            status, extra = self.faults.pop(0)
            return status, b"", extra
        if not headers.get("user-agent", "").startswith("ConvertAgent/"):
            return self.refuse(403, "a bot")
        if headers.get("content-type") != "application/json":
            return self.refuse(415, "not JSON")
        if self.secret and headers.get("authorization") != f"Bearer {self.secret}":
            return self.refuse(401, "wrong secret")
        if method == "GET" and path == f"/config/{self.key}":
            return self.configuration(dict(parse_qsl(asked, strict_parsing=True)) if asked else {}, headers)
        if method == "POST" and path == f"/track/{self.key}" and not asked:
            return self.track(json.loads(body))
        return self.refuse(404, f"no {method} {path}")

    def configuration(self, asked, headers):
        """Give the configuration, of one environment if asked, and all of it with the token."""
        if self.etag and headers.get("if-none-match") == self.etag:
            return 304, b"", {"ETag": self.etag}
        debug = self.token is not None and headers.get("convert-debug-token") == self.token
        experiences = [
            one
            for one in self.root.get("experiences", [])
            if (debug or one.get("status", "active") == "active")
            and one.get("environment") in (None, asked.get("environment"))
        ]
        body = {**self.root, "experiences": experiences, **({"is_debug": True} if debug else {})}
        return (
            200,
            json.dumps(body).encode(),
            {"Content-Type": "application/json", **({"ETag": self.etag} if self.etag else {})},
        )

    def track(self, body):
        """Take events, or refuse all for what the real service would drop."""
        if set(body) != {"accountId", "projectId", "enrichData", "source", "visitors"}:
            return self.refuse(400, f"members {sorted(body)}")
        if (body["accountId"], body["projectId"]) != (self.root["account_id"], self.root["project"]["id"]):
            return self.refuse(400, "another project")
        taken = []
        for visitor in body["visitors"]:
            if not isinstance(visitor.get("visitorId"), str) or not visitor.get("events"):
                return self.refuse(400, "a visitor without id or events")
            if not set(visitor) <= {"visitorId", "segments", "events"}:
                return self.refuse(400, "unknown members of a visitor")
            for event in visitor["events"]:
                if not self.knows(event):
                    return self.refuse(400, f"event {event}")
                taken.append((visitor["visitorId"], event))
        if len({visitor["visitorId"] for visitor in body["visitors"]}) < len(body["visitors"]):
            return self.refuse(400, "a visitor twice")
        self.events += taken
        return 200, b'{"code":200,"message":"ok"}'

    def knows(self, event):
        """Whether the event is as documented, with ids as texts."""
        data = event["data"]
        if event["eventType"] == "bucketing":
            return set(data) == {"experienceId", "variationId"} and all(isinstance(one, str) for one in data.values())
        goal_data, bucketing = data.get("goalData", [{"key": ""}]), data.get("bucketingData", {"": ""})
        return (
            event["eventType"] == "conversion"
            and isinstance(data["goalId"], str)
            and bool(goal_data)
            and bool(bucketing)
        )
