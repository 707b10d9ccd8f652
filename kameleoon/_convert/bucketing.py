"""
Where a visitor falls in a Convert experience: one MurmurHash3 decides exposure and variation together.

Source:
    Vectors in ``tests/vectors_convert/convert_bucketing.json``; docs/convert.md, "Bucketing".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kameleoon._convert.values import as_number, well_formed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kameleoon._convert.model import Variation

DEFAULT_SEED = 9999
DEFAULT_MAX_TRAFFIC = 10_000

_SCALE = 100
"""An allocation is in percent, a place in ten-thousandths. The API description gives allocations another scale; no SDK follows it."""

_ANCHORED_ABOVE = 11
_RANGE = 1 << 32
_LARGEST_INDEX = 4_294_967_294


@dataclass(frozen=True, slots=True)
class Bucketing:
    """
    How places are drawn, the same for all experiences of a project.

    Attributes:
        seed: Of the hash; 0 stands for the default.
        max_traffic: Number of places; 0 stands for the default.
        excludes_experience: Whether the hash is of the visitor alone, so that all experiences draw the same.
    """

    seed: int = DEFAULT_SEED
    max_traffic: int = DEFAULT_MAX_TRAFFIC
    excludes_experience: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    """The places from *start* up to, but not including, *end* belong to the variation *variation_id*."""

    start: float
    end: float
    variation_id: str


class Bucketer:
    """
    Draws a visitor's place in one experience. Pure and shared by all threads.

    Args:
        experience_id: Part of what is hashed.
        slots: In order; the first that holds a place has it.
        bucketing: How places are drawn.

    Attributes:
        slots: As given.
        max_traffic: Number of places.
    """

    __slots__ = ("_hash", "_prefix", "_seed", "max_traffic", "slots")

    def __init__(self, experience_id: str, slots: Sequence[Slot], bucketing: Bucketing) -> None:
        self.slots = tuple(slots)
        self._hash = _murmur3()
        self._prefix = "" if bucketing.excludes_experience else experience_id
        self._seed = (bucketing.seed or DEFAULT_SEED) % _RANGE
        self.max_traffic = bucketing.max_traffic or DEFAULT_MAX_TRAFFIC

    def raw_hash(self, visitor_code: str) -> int:
        """The 32-bit hash of the visitor, unsigned."""
        # Joined before it is made well-formed: nothing else keeps a pair whose halves come from both texts.
        return self._hash(self.hashed(visitor_code).encode(), self._seed, False)

    def hashed(self, visitor_code: str) -> str:
        """The text that is hashed for the visitor."""
        return well_formed(self._prefix + visitor_code)

    def fraction(self, visitor_code: str) -> float:
        """The hash as a part of all hashes, from 0 to just below 1."""
        return self.raw_hash(visitor_code) / _RANGE

    def place(self, visitor_code: str) -> int:
        """The visitor's place, from 0 to one below the number of places."""
        return int(self.fraction(visitor_code) * self.max_traffic)

    def variation_at(self, place: int) -> str | None:
        """The id of the variation that has *place*, ``None`` when none has."""
        for slot in self.slots:
            if slot.start <= place < slot.end:
                return slot.variation_id
        return None


def make_bucketer(experience_id: str, version: Any, variations: Sequence[Variation], bucketing: Bucketing) -> Bucketer:
    """
    Lay out an experience's variations.

    Args:
        experience_id: Its id.
        version: As the configuration has it; ``None`` when absent. Numerically above 11 it chooses the anchored layout.
        variations: In the configuration's order.
        bucketing: How places are drawn.
    """
    slots = anchored(variations) if is_anchored(version) else packed(variations)
    return Bucketer(experience_id, slots, bucketing)


def is_anchored(version: Any) -> bool:
    """Whether an experience of this version has the anchored layout; texts with a number count, all else is packed."""
    number = as_number(version)
    return number is not None and number > _ANCHORED_ABOVE


def packed(variations: Sequence[Variation]) -> list[Slot]:
    """
    Lay the running variations with traffic side by side from 0: one that stops makes those after it slide down.

    Ids that are plain decimal integers up to 4294967294 come first, ascending, and the others in the configuration's order: the
    order of an object's keys in JavaScript. A total above 100 % starves the last ones.
    """
    shares: dict[str, float] = {}
    for variation in variations:
        if variation.id and variation.is_running and (variation.allocation is None or variation.allocation > 0):
            shares[variation.id] = 100.0 if variation.allocation is None else variation.allocation
    slots: list[Slot] = []
    end = 0.0
    for variation_id in _in_key_order(shares):
        start, end = end, end + shares[variation_id] * _SCALE
        slots.append(Slot(start, end, variation_id))
    return slots


def anchored(variations: Sequence[Variation]) -> list[Slot]:
    """
    Give each variation a fixed place to begin at, by the shares of all before it, running or not, in the configuration's order.

    A variation that stops leaves its slot empty; scaling all shares grows or shrinks the slots where they are.
    """
    known = [
        (variation, 100.0 if variation.allocation is None else variation.allocation)
        for variation in variations
        if variation.id
    ]
    total = sum((weight for _, weight in known), 0.0)
    if total <= 0:
        return []
    slots: list[Slot] = []
    before = 0.0
    for variation, weight in known:
        start = before / total * DEFAULT_MAX_TRAFFIC
        width = weight * _SCALE if variation.is_running and weight > 0 else 0.0
        slots.append(Slot(start, start + width, variation.id))
        before += weight
    return slots


def _in_key_order(ids: dict[str, float]) -> list[str]:
    indices = sorted((one for one in ids if _is_index(one)), key=int)
    return indices + [one for one in ids if not _is_index(one)]


def _is_index(text: str) -> bool:
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(_LARGEST_INDEX)):
        return False
    return (text == "0" or not text.startswith("0")) and int(text) <= _LARGEST_INDEX


def _murmur3() -> Callable[[bytes, int, bool], int]:
    import mmh3  # noqa: PLC0415 - wanted only with Convert

    function: Callable[[bytes, int, bool], int] = mmh3.hash
    return function
