"""What a source of configurations promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from kameleoon._transport.configuration import Fetched
    from kameleoon._transport.flow import Flow


class Source(Protocol):
    """
    Where configurations come from. One source may serve several clients, and threads, at once.

    What a source finds is handed over whole or not at all: a failure leaves the client with what it has.
    """

    @property
    def name(self) -> str:
        """Short name for messages and for `Fetched.source_name`."""

    @property
    def interval_s(self) -> float | None:
        """Seconds between two questions, above 0; ``None`` when it is asked until it answered once, and never again."""

    def fetch(self, known: Fetched | None, ts: int | None) -> Flow[Fetched | None]:
        """
        Look for a configuration newer than *known*.

        Args:
            known: What the client works with, of whatever source, or ``None``.
            ts: The version that a stream announced, in milliseconds, or ``None``.

        Returns:
            The new configuration, or ``None`` when *known* is the newest.

        Raises:
            FetchFailed: There is none to be had now; the reason is for people.
        """
