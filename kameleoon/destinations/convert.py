"""
Convert's tracking: what happens to visitors of a Convert project, told to Convert. A client with a `ConvertSource` has this destination by itself.

Source:
    docs/convert.md, "Tracking".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kameleoon._convert.access import headers, key_path
from kameleoon._convert.payload import (
    Converted,
    Exposed,
    as_json,
    check_goal_data,
    conversions,
    joined_body,
    report_segments,
    tracking_url,
    visitor,
)
from kameleoon._convert.visitor import property_name, property_value, visitor_state
from kameleoon._visitor.record import VisitorRecord
from kameleoon.destinations.events import Conversion, Exposure
from kameleoon.destinations.posting import post
from kameleoon.destinations.protocol import EventRefused, Limits, Result, Verdict
from kameleoon.logging.kameleoon_logger import KameleoonLogger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kameleoon._convert.flags import ConvertFlags
    from kameleoon._convert.payload import Told
    from kameleoon._sources.convert import ConvertSource
    from kameleoon._transport.flow import Flow
    from kameleoon._visitor.unsent import Unsent
    from kameleoon.destinations.events import Event

ORIGIN = "convert"

NO_ACCESS_WAIT_S = 60.0
"""So long nothing is sent after Convert did not know the key or the secret; a wrong one may be put right, and nothing is lost meanwhile."""

_NO_ACCESS = frozenset({401, 403, 404})
_FRAME_BYTES = 512
_LIMITS = Limits(
    batch_events=100,
    batch_bytes=500_000,
    frame_bytes=_FRAME_BYTES,
    flush_events=50,
    flush_after_s=1.0,
)


class ConvertTracking:
    """
    `Destination` that is Convert's tracking.

    Args:
        source: Whose key, secret and address are used.
    """

    name = ORIGIN
    limits = _LIMITS

    def __init__(self, source: ConvertSource) -> None:
        self._source = source
        self._told: set[int] = set()

    def map(self, event: Event) -> dict[str, Any] | None:
        """A visitor with his events; ``None`` for what is of another origin, or not to be told again."""
        details = event.details
        if event.origin != ORIGIN or "account_id" not in details or "project_id" not in details:
            return None
        code, segments = event.visitor_code, details.get("segments", {})
        told: tuple[Told, ...] = ()
        if isinstance(event, Exposure):
            told = (Exposed(code, event.experiment_id, event.variation_id, segments),)
        elif not event.is_negative:  # Convert knows no conversion that takes back another
            told = conversions(
                Converted(code, event.goal_id, dict(event.assignments), details.get("goal_data", {}), segments),
                is_repeated=bool(details.get("is_repeated")),
                repeats_transactions=self._source.repeats_transactions,
            )
        if not told:
            return None
        return {"project": [details["account_id"], details["project_id"]], "visitor": visitor(*told)}

    def check(self, mapped: Any) -> bytes:
        """
        The visitor as compact JSON, half surrogate pairs as U+FFFD.

        Raises:
            EventRefused: JSON has no form for it.
        """
        try:
            return as_json(mapped)
        except (TypeError, ValueError, RecursionError) as error:
            raise EventRefused("json", f"no JSON: {type(error).__name__}") from None

    def send(self, batch: Sequence[bytes]) -> Flow[Result]:
        """Post one batch. Without access everything is kept, and the reason said once."""
        pieces = [json.loads(one) for one in batch]
        account_id, project_id = pieces[0]["project"]
        if any(one["project"] != pieces[0]["project"] for one in pieces):
            return Result(Verdict.SPLIT, "events of several projects")
        body = joined_body(account_id, project_id, [one["visitor"] for one in pieces], enriches=self._source.enriches)
        url = tracking_url(self._source.tracking_base_url.rstrip("/"), project_id, key_path(self._source.key))
        status, result = yield from post(url, headers(self._source.secret), body)
        if status is not None and (status in _NO_ACCESS or status < 400) and result.verdict is Verdict.CLOSED:
            if status not in self._told:
                self._told.add(status)
                KameleoonLogger.error(
                    "Convert does not take events (status %d): the key is unknown, or its secret wrong or missing; they are kept",
                    status,
                )
            return Result(Verdict.RETRY, result.reason, NO_ACCESS_WAIT_S)
        if result.verdict is Verdict.CLOSED:
            return Result(Verdict.SPLIT, result.reason)
        return result


def convert_events(ruleset: ConvertFlags, code: str, record: VisitorRecord | None, unsent: Unsent) -> Iterator[Event]:
    """
    What was taken from a visitor, as events in the order in which they happened.

    Args:
        ruleset: The project in force.
        code: The visitor.
        record: All that is known of him, only looked at; ``None`` when the store has forgotten him meanwhile.
        unsent: What was taken.
    """
    flags = ruleset
    record = VisitorRecord(0) if record is None else record
    project = flags.project.project
    state = visitor_state(record, flags.ids)
    segments = report_segments(state)
    common: dict[str, Any] = {"account_id": project.account_id, "project_id": project.project_id}
    if segments:
        common["segments"] = segments
    events: list[Event] = []
    for given in unsent.assignments:
        experience_id, variation_id = flags.ids.text(given.experiment_id), flags.ids.text(given.variation_id)
        if experience_id is None or variation_id is None:
            continue
        found = flags.of_experiment(given.experiment_id)
        shares = () if found is None else found[1].shares
        events.append(
            Exposure(
                code,
                experience_id,
                variation_id,
                given.time_ms,
                variation_key=next(
                    (one.variation_key for one in shares if one.variation_id == given.variation_id), None
                ),
                feature_key=flags.flag_key_of(given.experiment_id),
                rule_type=None if found is None else found[1].type.value,
                rule_id=None if found is None else experience_id,
                consent=unsent.consent,
                details=common,
                origin=ORIGIN,
            )
        )
    events += _conversions(flags, code, record, unsent, common)
    # An exposure comes before a conversion of the same moment: sorting keeps the order of equals.
    return iter(sorted(events, key=lambda event: event.at_ms))


def _conversions(
    flags: ConvertFlags, code: str, record: VisitorRecord, unsent: Unsent, common: Mapping[str, Any]
) -> Iterator[Conversion]:
    keys = {goal.id: goal.key for goal in flags.project.project.goals}
    reached = [
        (flags.goal(one.conversion.goal_id), one) for one in list(record.conversions) if not one.conversion.negative
    ]
    told: set[str] = set()
    for converted in unsent.conversions:
        conversion, time_ms = converted
        goal_id = flags.goal(conversion.goal_id)
        if goal_id is None:
            named = str(conversion.goal_id) if conversion.goal_id >= 0 else "of its key"
            KameleoonLogger.warning("A conversion was left out: the project has no goal %s", named)
            continue
        first = next((one for goal, one in reached if goal == goal_id), None)
        is_repeated = goal_id in told or (first is not None and first != converted)
        if not conversion.negative:
            told.add(goal_id)
        assigned = [
            (flags.ids.text(one.experiment_id), flags.ids.text(one.variation_id))
            for one in list(record.assignments.values())
            if one.time_ms <= time_ms
        ]
        details = {**common, "is_repeated": is_repeated}
        goal_data = _goal_data(conversion)
        if goal_data:
            details["goal_data"] = goal_data
        yield Conversion(
            code,
            goal_id,
            time_ms,
            goal_key=keys.get(goal_id) or None,
            revenue=conversion.revenue or None,
            is_negative=conversion.negative,
            assignments=tuple((one, other) for one, other in assigned if one is not None and other is not None),
            consent=unsent.consent,
            details=details,
            origin=ORIGIN,
        )


def _goal_data(conversion: Any) -> dict[str, Any]:
    """Amount and metadata as Convert has them; what it does not know is left out, and told in the log."""
    goal_data: dict[str, Any] = {"amount": conversion.revenue} if conversion.revenue else {}
    for datum in conversion.metadata or ():
        if not datum.values:
            continue
        one = {property_name(datum): property_value(datum)}
        try:
            check_goal_data(one)
        except ValueError as error:
            KameleoonLogger.warning("Metadata of a conversion was left out: %s", str(error))
        else:
            goal_data = {**one, **goal_data} if "amount" in one else {**goal_data, **one}
    return goal_data
