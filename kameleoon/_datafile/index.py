"""What is found among all flags by something else than their key, without reading them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kameleoon._datafile.pieces import is_hashable

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from kameleoon._datafile.decode import Steps
    from kameleoon._datafile.pieces import FlagPiece

_FLAGS = 500
"""Flags between two interruptions."""


class FlagIndex:
    """
    Indices over the flags; of what has the same id the last wins.

    Attributes:
        by_id: ``{flag id: flag key}``
        by_experiment: ``{experiment id: flag key}``
        by_segment: ``{id of a segment within a rule: flag key}``, of the older configuration shape.
        variation_keys: ``{variation id: variation key}`` over all rules.
        groups: ``{mutually exclusive group: {flag key: place by ascending flag id}}``; disabled flags are among them.
        with_page_code: Ids of the experiments of flags that bring code for the page.
        has_delivery: Whether any flag enabled in the environment has a targeted delivery.
    """

    __slots__ = ("by_experiment", "by_id", "by_segment", "groups", "has_delivery", "variation_keys", "with_page_code")

    def __init__(self) -> None:
        self.by_id: dict[Hashable, Any] = {}
        self.by_experiment: dict[Hashable, Any] = {}
        self.by_segment: dict[Hashable, Any] = {}
        self.variation_keys: dict[Hashable, Any] = {}
        self.groups: Mapping[str, Mapping[Hashable, int]] = {}
        self.with_page_code: set[Hashable] = set()
        self.has_delivery = False

    def fill(self, flags: Mapping[Hashable, FlagPiece]) -> Steps[None]:
        """Take in all flags, ``{key: flag}``."""
        members: dict[str, list[tuple[float, Hashable]]] = {}
        for place, (key, piece) in enumerate(flags.items()):
            _, _, flag_id, group, has_delivery, has_page_code, experiments, variations, segments = piece
            if is_hashable(flag_id):
                self.by_id[flag_id] = key
            for experiment_id in experiments[1::2]:
                self.by_experiment[experiment_id] = key
            if has_page_code:
                self.with_page_code.update(experiments[1::2])
            for segment_id in segments:
                self.by_segment[segment_id] = key
            self.variation_keys.update(zip(variations[::2], variations[1::2], strict=True))
            self.has_delivery = self.has_delivery or has_delivery
            if isinstance(group, str) and group:
                members.setdefault(group, []).append((flag_id if isinstance(flag_id, (int, float)) else 0, key))
            if place % _FLAGS == _FLAGS - 1:
                yield
        self.groups = {
            name: {key: place for place, (_, key) in enumerate(sorted(flags_of, key=lambda member: member[0]))}
            for name, flags_of in members.items()
        }
