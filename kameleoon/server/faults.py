"""Faults on purpose: error answers, delays and broken connections, to see how a client takes them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_FAULT = re.compile(r"(reset|[45][0-9]{2}):([01](?:\.[0-9]{1,6})?|\.[0-9]{1,6})")


@dataclass(frozen=True, slots=True)
class Faults:
    """
    What goes wrong with requests of SDKs and of the APIs; the page, results and the project file stay as they are.

    Attributes:
        statuses: `{status: part of the requests that get it, 0 to 1}`.
        reset: Part of the requests whose connection is cut without an answer.
        latency_ms: Every answer comes so much later.
    """

    statuses: dict[int, float] = field(default_factory=dict)
    reset: float = 0.0
    latency_ms: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.statuses or self.reset or self.latency_ms)

    def draw(self, number: float) -> int | None:
        """
        What happens to one request.

        Args:
            number: Random, from 0 to below 1.

        Returns:
            A status, 0 for a cut connection, None for nothing.
        """
        for outcome, part in ((0, self.reset), *self.statuses.items()):
            if number < part:
                return outcome
            number -= part
        return None


def parse_faults(written: list[str], latency_ms: float = 0.0) -> Faults:
    """
    Faults as the command line has them.

    Args:
        written: Such as ``500:0.2`` or ``reset:0.1``.
        latency_ms: 0 or more.

    Raises:
        ValueError: One is not understood, or together they are more than all requests.
    """
    statuses: dict[int, float] = {}
    reset = 0.0
    for text in written:
        match = _FAULT.fullmatch(text)
        if not match:
            raise ValueError(f"{text!r} is no fault such as 500:0.2 or reset:0.1")
        if match[1] == "reset":
            reset = float(match[2])
        else:
            statuses[int(match[1])] = float(match[2])
    if sum(statuses.values()) + reset > 1:
        raise ValueError("the faults are more than all requests")
    return Faults(statuses, reset, latency_ms)
