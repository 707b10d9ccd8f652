"""What was taken from a visitor as events for destinations, with the names that the configuration has for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kameleoon.destinations import Conversion, Exposure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kameleoon._engine.seam import AnyRuleset
    from kameleoon._visitor.record import VisitorRecord
    from kameleoon._visitor.unsent import Unsent
    from kameleoon.destinations.events import Event


def make_events(ruleset: AnyRuleset, code: str, record: VisitorRecord | None, unsent: Unsent) -> Iterator[Event]:
    """
    The exposures and conversions of one visitor; what was forced is none.

    Args:
        ruleset: Gives the keys of flags and variations.
        code: The visitor.
        record: Not needed: *unsent* says it all.
        unsent: What was taken.
    """
    del record
    for assignment in unsent.assignments:
        experiment_id, variation_id = assignment.experiment_id, assignment.variation_id
        if experiment_id in unsent.forced:
            continue
        found = ruleset.of_experiment(experiment_id)
        share = found and next((one for one in found[1].shares if one.variation_id == variation_id), None)
        yield Exposure(
            code,
            str(experiment_id),
            str(variation_id),
            assignment.time_ms,
            variation_key=share.variation_key if share else None,
            feature_key=found[0].key if found else None,
            rule_type=found[1].type.value if found else None,
            rule_id=str(found[1].id) if found else None,
            consent=unsent.consent,
        )
    assigned = tuple((str(experiment_id), str(variation_id)) for experiment_id, variation_id in unsent.assigned)
    for conversion, time_ms in unsent.conversions:
        yield Conversion(
            code,
            str(conversion.goal_id),
            time_ms,
            # 0 is what the application did not say.
            revenue=conversion.revenue or None,
            is_negative=conversion.negative,
            assignments=assigned,
            consent=unsent.consent,
        )
