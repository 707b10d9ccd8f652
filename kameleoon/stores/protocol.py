"""
What every visitor store promises.

A store may keep its visitors in this process or share them between many; the client does not know which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from kameleoon._visitor.facts import Assigned
from kameleoon._visitor.record import Assignment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kameleoon._visitor.facts import Fact
    from kameleoon._visitor.record import Visitor
    from kameleoon._visitor.unsent import Unsent


class Claim(NamedTuple):
    """What of one visitor is to be sent now; ``None`` when the store does not know the code."""

    code: str
    unsent: Unsent | None


class Ended(NamedTuple):
    """A visitor whose session is over, or who had to make room."""

    code: str
    visitor: Visitor


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
        experiment_id: int,
        variation_id: int,
        is_delivery: bool,
        unsent: bool,
        now_ms: int,
    ) -> Visitor:
        """
        Remember a variation that was given: `write` with one `Assigned`, for the path of every evaluation.

        Args:
            code: The visitor code.
            visitor: What `read` gave just now; a store in this process may write to it without looking again.
            experiment_id: The experiment.
            variation_id: The variation.
            is_delivery: Whether a targeted delivery gave it.
            unsent: Whether it is to be sent.
            now_ms: Now, in milliseconds since 1970.

        Returns:
            The visitor as he is now.
        """
        del visitor
        assignment = Assignment(experiment_id, variation_id, is_delivery, now_ms, unsent)
        return self.write(code, [Assigned(assignment)], now_ms)

    def link(self, code: str, other: str, now_ms: int) -> None:
        """
        Let *other* share the record of *code* from now on. What *other* had unsent is handed out by `expire`.

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

        A store in this process does its work in these steps: between two of them the caller may let others have their turn.
        """

    def after_fork_in_child(self) -> None:
        """In a forked child: what is unsent belongs to the parent, so that it counts as sent here."""

    def __len__(self) -> int:
        """Number of codes known."""

    def close(self) -> None:
        """Free what the store holds. Calling it again does nothing."""
