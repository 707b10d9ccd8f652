"""
Flags and segments as they wait to be asked for: their text, and what must be known of all of them at once.

The text takes a fifth of the room of the objects decoded from it. A piece is a plain tuple of texts, numbers and tuples of such, which
the garbage collector leaves alone: to look at many thousand objects again and again would hold up the whole process.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

from kameleoon._datafile.decode import decode_in_steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kameleoon._datafile.decode import Keep, Steps

_MAX_DEPTH = 64
"""Depth up to which a piece can be decoded again wherever it is asked for, however deep the caller's own stack is."""


Content: TypeAlias = "str | Mapping[str, Any]"
"""A JSON object, or its text."""

FlagPiece: TypeAlias = "tuple[Content, Any, Any, Any, bool, bool, tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]"
"""
A flag: its content, ``featureKey``, ``id``, ``mutuallyExclusiveGroup``; whether it is enabled in the environment and has a targeted
delivery; whether its first variation brings code for the page, a JS or CSS variable; the ids of rule and experiment of each rule; id and key of the variation of each share of each rule; and the ids of the
segments within its rules, of the older configuration shape. Ids and keys are as they stand; what is looked up is neither a list nor an object.
"""

SegmentPiece: TypeAlias = "tuple[Content, Any]"
"""A segment: its content and ``id``, as it stands."""


def flag_piece(raw: Mapping[str, Any], text: str | None = None) -> FlagPiece:
    """
    A flag as a piece.

    Args:
        raw: The object. It must not be changed by anybody.
        text: The JSON it was decoded from, kept in its stead; ``None`` to keep the object itself.
    """
    experiments: list[Any] = []
    variations: list[Any] = []
    segments: list[Any] = []
    has_delivery = False
    for rule in objects(raw.get("rules")):
        has_delivery = has_delivery or rule.get("type") == "TARGETED_DELIVERY"
        if is_hashable(rule.get("experimentId")):
            experiments += (rule.get("id"), rule.get("experimentId", 0))
        for share in objects(rule.get("variationByExposition")):
            if is_hashable(share.get("variationId")):
                variations += (share.get("variationId"), share.get("variationKey", ""))
        segment = rule.get("segment")
        if isinstance(segment, dict) and is_hashable(segment.get("id")):
            segments.append(segment.get("id"))
    first = next(objects(raw.get("variations")), {})
    return (
        _content(raw, text),
        raw.get("featureKey", ""),
        raw.get("id", 0),
        raw.get("mutuallyExclusiveGroup"),
        has_delivery and bool(raw.get("environmentEnabled")),
        any(variable.get("type") in ("JS", "CSS") for variable in objects(first.get("variables"))),
        tuple(experiments),
        tuple(variations),
        tuple(segments),
    )


def segment_piece(raw: Mapping[str, Any], text: str | None = None) -> SegmentPiece:
    """A segment as a piece; arguments as of `flag_piece`."""
    return _content(raw, text), raw.get("id", -1)


def read_piece(piece: FlagPiece | SegmentPiece) -> Mapping[str, Any]:
    """The object that a piece stands for."""
    content = piece[0]
    if isinstance(content, str):
        raw: Mapping[str, Any] = json.loads(content)
        return raw
    return content


_KEPT: dict[str, Keep] = {"featureFlags": flag_piece, "segments": segment_piece}


def root_in_steps(body: bytes) -> Steps[Any]:
    """
    What ``json.loads(body)`` gives, or raises, in steps; flags and segments of a configuration are left as pieces.

    Args:
        body: JSON in UTF-8, UTF-16 or UTF-32.

    Raises:
        ValueError: *body* is not JSON.
        RecursionError: It is nested too deeply.
    """
    root = yield from decode_in_steps(body, _KEPT)
    if isinstance(root, dict) and "featureFlags" not in root and isinstance(root.get("segments"), list):
        # Not of this service: what others call segments is theirs to read.
        root["segments"] = [read_piece(item) if type(item) is tuple else item for item in root["segments"]]
    return root


def is_hashable(value: object) -> bool:
    """Whether a JSON value can be a key: it is neither a list nor an object."""
    return not isinstance(value, (dict, list))


def objects(value: object) -> Iterator[dict[str, Any]]:
    """The objects of a list; nothing else counts."""
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def _content(raw: Mapping[str, Any], text: str | None) -> Content:
    return raw if text is None or not _is_shallow(raw, text) else text


def _is_shallow(raw: Mapping[str, Any], text: str) -> bool:
    if text.count("[") + text.count("{") <= _MAX_DEPTH:
        return True
    depth = 0
    level: list[Any] = [raw]
    while level:
        depth += 1
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
    return depth <= _MAX_DEPTH
