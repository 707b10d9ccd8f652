"""A sender without a network: canned answers and a clock that only moves when told."""

from __future__ import annotations

from clocks import Clock

from kameleoon._transport.message import Response, TransportError, TransportErrorKind


class Canned:
    """
    `Sender` that answers from a list, or by a function of the request.

    An answer is a `Response`, an exception to raise, or ``(seconds it takes, answer)``.
    """

    def __init__(self, *answers, clock=None, by=None):
        self.answers = list(answers)
        self.by = by
        self.clock = clock or Clock()
        self.sent = []
        self.paused = []

    def send(self, request):
        self.sent.append(request)
        answer = self.by(request) if self.by else self.answers.pop(0)
        if isinstance(answer, tuple):
            seconds, answer = answer
            self.clock.now += min(seconds, request.timeout_s)
            if seconds > request.timeout_s:
                answer = timeout()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pause(self, seconds):
        self.paused.append(seconds)
        self.clock.now += seconds

    def close(self):
        pass


def json_response(body, status=200, **headers):
    """Build a response with a JSON content type; ``_`` in header names stands for ``-``."""
    fields = {"content-type": "application/json", **{n.lower().replace("_", "-"): v for n, v in headers.items()}}
    return Response(status, fields, body)


def timeout():
    """Build the failure of a request that got no answer in time."""
    return TransportError(TransportErrorKind.TIMEOUT, "timed out")


def broken():
    """Build the failure of a connection that ended."""
    return TransportError(TransportErrorKind.CONNECTION, "connection reset")
