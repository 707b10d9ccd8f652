"""
Segments within segments: which references can be followed.

A reference that leads back to where it came from has no answer, and one that unfolds into very many conditions has none in time.
Both are out of service, decided by the configuration alone and not by the order in which segments are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from kameleoon._datafile.model import Segment

MAX_DEPTH = 32
"""Segments within segments, at most."""

MAX_CONDITIONS = 5_000
"""Conditions that one segment may unfold into."""


class References:
    """
    Which segments a condition may refer to; worked out for a segment, and what it refers to, when it is asked for.

    Args:
        read: Gives a segment by its id, ``None`` when there is none.
    """

    __slots__ = ("_extent", "_read")

    def __init__(self, read: Callable[[Hashable], Segment | None]) -> None:
        self._read = read
        self._extent: dict[Hashable, tuple[int, int] | None] = {}

    def is_usable(self, segment_id: Hashable) -> bool:
        """Whether there is such a segment that does not lead back to itself, nor unfolds into too much."""
        if segment_id not in self._extent:
            self._settle(segment_id)
        extent = self._extent[segment_id]
        return extent is not None and extent[0] <= MAX_DEPTH and extent[1] <= MAX_CONDITIONS

    def is_bounded(self, segment: Segment) -> bool:
        """Whether *segment*, with all that it refers to, unfolds into conditions that can be run."""
        usable = [self._extent[target] for target in _references(segment) if self.is_usable(target)]
        return _own_size(segment) + sum(extent[1] for extent in usable if extent is not None) <= MAX_CONDITIONS

    def _settle(self, start: Hashable) -> None:
        """Depth and number of conditions, from the innermost segments outwards; what is never settled refers back to itself."""
        found: dict[Hashable, tuple[list[Hashable], int]] = {}
        waiting_for: dict[Hashable, list[Hashable]] = {}
        ready, search = [], [start]
        while search:
            segment_id = search.pop()
            if segment_id in found or segment_id in self._extent:
                continue
            segment = self._read(segment_id)
            if segment is None:
                self._extent[segment_id] = None
                continue
            wanted = [target for target in _references(segment) if self._read(target) is not None]
            found[segment_id] = (wanted, _own_size(segment))
            search += wanted
        unsettled: dict[Hashable, int] = {}
        for segment_id, (wanted, _) in found.items():
            inner = [target for target in wanted if target in found]
            unsettled[segment_id] = len(inner)
            for target in inner:
                waiting_for.setdefault(target, []).append(segment_id)
            if not inner:
                ready.append(segment_id)
        while ready:
            segment_id = ready.pop()
            wanted, size = found[segment_id]
            extents = [self._extent[target] for target in wanted]
            if None in extents:
                self._extent[segment_id] = None  # refers to one that leads back to itself
            else:
                known = [extent for extent in extents if extent is not None]
                depth = 1 + max((extent[0] for extent in known), default=0)
                self._extent[segment_id] = (depth, size + sum(extent[1] for extent in known))
            for referrer in waiting_for.get(segment_id, ()):
                unsettled[referrer] -= 1
                if unsettled[referrer] == 0:
                    ready.append(referrer)
        for segment_id in found:
            self._extent.setdefault(segment_id, None)


def _references(segment: Segment) -> list[Hashable]:
    if segment.tree is None:
        return []
    wanted = (
        condition.fields.get("segmentId")
        for group in segment.tree.groups
        for condition in group.conditions
        if condition.type == "SEGMENT"
    )
    return [segment_id for segment_id in wanted if not isinstance(segment_id, (dict, list))]


def _own_size(segment: Segment) -> int:
    return 0 if segment.tree is None else sum(len(group.conditions) for group in segment.tree.groups)
