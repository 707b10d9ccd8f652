"""
What every visitor store promises.

A store may keep its visitors in this process or share them between many; the client does not know which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from kameleoon._visitor.facts import Assigned
from kameleoon._visitor.nonces import NO_NONCES
from kameleoon._visitor.record import assignment_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kameleoon._visitor.facts import Fact
    from kameleoon._visitor.nonces import Nonces
    from kameleoon._visitor.record import Given, Visitor
    from kameleoon._visitor.unsent import Unsent


class Claim(NamedTuple):
    """
    What of one visitor is to be sent now.

    Attributes:
        code: The visitor code.
        unsent: What is to be sent; ``None`` when the store does not know the code.
        nonces: What the items' lines are told by when the store cannot rule out that another worker sends them too.
    """

    code: str
    unsent: Unsent | None
    nonces: Nonces = NO_NONCES


class Ended(NamedTuple):
    """
    A visitor whose session is over, or who had to make room.

    Attributes:
        code: His code.
        visitor: What was known of him.
        nonces: As in `Claim`, for everything that is unsent.
    """

    code: str
    visitor: Visitor
    nonces: Nonces = NO_NONCES


@runtime_checkable
class VisitorStore(Protocol):
    """
    Keeps visitors between requests and forgets ended sessions.

    All methods may be called from any thread. None raises because a backing service is away: the store then answers with what
    it knows in this process. A session ends when a code was not active for the session's duration; whatever was unsent
    then is handed out by `expire`, once, by one of the processes that share the store.
    """

    def read(self, code: str) -> Visitor | None:
        """
        The visitor behind *code*, ``None`` when unknown. Counts as activity.

        The record may be read freely; it may gain facts meanwhile, but the data it holds is never changed in place.
        """

    def peek(self, code: str) -> Visitor | None:
        """As `read`, without counting as activity."""

    def write(self, code: str, facts: Iterable[Fact], now_ms: int) -> Visitor:
        """
        Apply *facts* in order, as one; makes the visitor when unknown. Counts as activity.

        Args:
            code: The visitor code.
            facts: What became known.
            now_ms: Now, in milliseconds since 1970: the start of a new visitor's visit.

        Returns:
            The visitor as he is now.
        """

    def assign(
        self,
        code: str,
        visitor: Visitor | None,
        given: Given,
        unsent: bool,
        now_ms: int,
    ) -> Visitor:
        """
        Remember a variation that was given: `write` with one `Assigned`, for the path of every evaluation.

        Args:
            code: The visitor code.
            visitor: What `read` gave just now; a store in this process may write to it without looking again.
            given: The variation and its experiment. A store for which nothing else than the record counts may keep it in the
                assignment: the same is given again then without another call of this method.
            unsent: Whether it is to be sent.
            now_ms: Now, in milliseconds since 1970.

        Returns:
            The visitor as he is now.
        """
        del visitor
        return self.write(code, [Assigned(assignment_of(given, unsent, now_ms))], now_ms)

    def link(self, code: str, other: str, now_ms: int) -> None:
        """
        Let *other* share the record of *code* from now on.

        What *other* had unsent is handed out by `expire`. A store that was told to keeps what else was known of *other*: it is
        added to the record, where that does not know better, and counts as sent there.

        Args:
            code: A visitor code; made when unknown.
            other: Another code.
            now_ms: Now, in milliseconds since 1970.
        """

    def claim(self, codes: Sequence[str], *, consent_required: bool) -> list[Claim]:
        """
        Take what is unsent of each of *codes*. No item is ever handed out twice. Does not count as activity.

        Args:
            codes: Visitor codes, in any number.
            consent_required: Whether items wait for consent, see `kameleoon._visitor.unsent.take_unsent`.
        """

    def codes(self) -> Iterable[tuple[str, bool]]:
        """
        All visitor codes, oldest first where the store knows, and whether they hold anything that is, or was, to be sent.

        Does not count as activity. Who comes or goes meanwhile may be among them or not.
        """

    def pending(self) -> Iterable[str]:
        """The codes of visitors with anything unsent, whatever consent says. Does not count as activity."""

    def expire(self) -> Iterable[Sequence[Ended]]:
        """
        Visitors whose session ended since the last call, a few at a time, or none; the store holds them no more.

        A store in this process does its work in these steps: between two of them the caller may let others have their turn. Whoever
        does not take all is given the rest with the next call.
        """

    def after_fork_in_child(self) -> None:
        """In a forked child: what is unsent belongs to the parent, so that it counts as sent here."""

    def __len__(self) -> int:
        """Number of codes known."""

    def close(self) -> None:
        """Free what the store holds. Calling it again does nothing."""


@runtime_checkable
class SharedVisitorStore(VisitorStore, Protocol):
    """
    A `VisitorStore` that asks a service over the network, so that its methods wait.

    Each has a twin for event loops, of the same promises. What a visitor's evaluations need can be brought ahead; from then on, for a
    while and in this task or thread only, his methods answer from that, and what is written waits for `push`.
    """

    def bring(self, codes: Sequence[str], *, is_activity: bool = True) -> None:
        """Bring what is known of *codes*, all together. Counts as activity of theirs unless *is_activity* says no."""

    def push(self) -> None:
        """Tell the service what it was not told yet."""

    async def abring(self, codes: Sequence[str], *, is_activity: bool = True) -> None:
        """`bring` without blocking the event loop."""

    async def apush(self) -> None:
        """`push` without blocking the event loop."""

    async def aread(self, code: str) -> Visitor | None:
        """`read` without blocking the event loop."""

    async def apeek(self, code: str) -> Visitor | None:
        """`peek` without blocking the event loop."""

    async def awrite(self, code: str, facts: Iterable[Fact], now_ms: int) -> Visitor:
        """`write` without blocking the event loop."""

    async def alink(self, code: str, other: str, now_ms: int) -> None:
        """`link` without blocking the event loop."""

    async def aclaim(self, codes: Sequence[str], *, consent_required: bool) -> list[Claim]:
        """`claim` without blocking the event loop. When it is cancelled nothing is lost: `expire` hands it out."""

    async def acodes(self) -> Iterable[tuple[str, bool]]:
        """`codes` without blocking the event loop."""

    async def apending(self) -> Iterable[str]:
        """`pending` without blocking the event loop."""

    async def aexpire(self) -> Iterable[Sequence[Ended]]:
        """`expire` without blocking the event loop: what it gives is there already, and waits for nothing."""

    async def aclose(self) -> None:
        """`close` without blocking the event loop."""
