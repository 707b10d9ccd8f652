"""
Segments within segments: which references can be followed.

A reference that leads back to where it came from has no answer, and one that unfolds into very many conditions has none in time.
Both are out of service, decided by the configuration alone and not by the order in which segments are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from kameleoon._datafile.model import Segment

MAX_DEPTH = 32
"""Segments within segments, at most."""

MAX_CONDITIONS = 5_000
"""Conditions that one reference may unfold into."""


def usable_references(segments: Mapping[Hashable, Segment]) -> frozenset[Hashable]:
    """
    Ids of the segments that a condition may refer to.

    Args:
        segments: All segments by id.
    """
    references = {
        segment_id: [wanted for wanted in _references(segment) if wanted in segments]
        for segment_id, segment in segments.items()
    }
    referrers: dict[Hashable, list[Hashable]] = {}
    waiting = {segment_id: len(wanted) for segment_id, wanted in references.items()}
    for segment_id, wanted in references.items():
        for target in wanted:
            referrers.setdefault(target, []).append(segment_id)
    # Segments are settled from the innermost outwards; what is never settled refers back to itself.
    depth: dict[Hashable, int] = {}
    size: dict[Hashable, int] = {}
    ready = [segment_id for segment_id, count in waiting.items() if count == 0]
    while ready:
        segment_id = ready.pop()
        inner = references[segment_id]
        depth[segment_id] = 1 + max((depth[target] for target in inner), default=0)
        size[segment_id] = _own_size(segments[segment_id]) + sum(size[target] for target in inner)
        for referrer in referrers.get(segment_id, ()):
            waiting[referrer] -= 1
            if waiting[referrer] == 0:
                ready.append(referrer)
    return frozenset(
        segment_id for segment_id in depth if depth[segment_id] <= MAX_DEPTH and size[segment_id] <= MAX_CONDITIONS
    )


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
