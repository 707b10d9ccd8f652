"""
Why a flag answers as it does.

The walk follows the order of `kameleoon._engine.flag` step by step and asks the same compiled pieces, but keeps what it sees. Nothing
of it is made unless somebody asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kameleoon._engine.choice import HELD_OUT_KEY, Refusal
from kameleoon._engine.conditions import compile_condition
from kameleoon._engine.hashing import digest, fraction
from kameleoon._engine.shown import shown
from kameleoon.types.explanation import ConditionExplanation, HashExplanation, RuleExplanation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kameleoon._datafile.model import Condition, Segment, Share
    from kameleoon._engine.choice import Choice
    from kameleoon._engine.flag import CompiledFlag, CompiledRule
    from kameleoon._engine.ruleset import Ruleset
    from kameleoon._visitor.record import VisitorRecord
    from kameleoon.types.reason import Reason


class Walk(NamedTuple):
    """
    What was seen on the way to an answer.

    Attributes:
        choice: The answer itself, as `CompiledFlag.decide` gave it.
        reason: Its reason.
        hashed_code: What stands for the visitor in hashes.
        steps: What was decided before any rule.
        hashes: Hashes of holdout and group.
        rules: The rules looked at.
        problems: What of the flag is out of service.
    """

    choice: Choice
    reason: Reason
    hashed_code: str
    steps: tuple[str, ...]
    hashes: tuple[HashExplanation, ...]
    rules: tuple[RuleExplanation, ...]
    problems: tuple[str, ...]


def walk(ruleset: Ruleset, flag: CompiledFlag, record: VisitorRecord | None, code: str, now_ms: int) -> Walk:
    """
    Decide, and keep what was seen.

    Args:
        ruleset: Where the flag belongs.
        flag: The flag.
        record: What is known of the visitor, ``None`` for an unknown one.
        code: The visitor code.
        now_ms: Now, in milliseconds since 1970.

    Raises:
        UnicodeEncodeError: *code* holds a lone surrogate.
    """
    choice, _ = flag.decide(record, code, now_ms)
    hashed = flag.hash_code(record, code)
    walker = _Walker(ruleset, flag, record, code, hashed, now_ms)
    walker.run()
    places = (
        f"featureFlags[{flag.key}]",
        *(f"segments[{rule.model.segment.id}]" for rule in flag.rules if rule.model.segment),
    )
    problems = tuple(str(problem) for problem in ruleset.problems if problem.place.startswith(places))
    return Walk(choice, choice.reason, hashed, tuple(walker.steps), tuple(walker.hashes), tuple(walker.rules), problems)


class _Walker:
    """One walk; *steps*, *hashes* and *rules* fill up on the way."""

    def __init__(
        self, ruleset: Ruleset, flag: CompiledFlag, record: VisitorRecord | None, code: str, hashed: str, now_ms: int
    ) -> None:
        self.steps: list[str] = []
        self.hashes: list[HashExplanation] = []
        self.rules: list[RuleExplanation] = []
        self._ruleset = ruleset
        self._flag = flag
        self._record = record
        self._code = code
        self._hashed = hashed
        self._now_ms = now_ms
        consent = None if record is None else record.consent
        self._refused = ruleset.consent_required and consent is False

    def run(self) -> None:
        """Follow the order of evaluation as far as it goes."""
        record, model = self._record, self._flag.model
        if record is not None and record.simulated is not None and model.key in record.simulated:
            self.steps.append("simulated: nothing else counts")
            return
        if not model.enabled:
            self.steps.append(Refusal.ENVIRONMENT.value)
            return
        holdout = self._ruleset.data_file.holdout
        if holdout is not None:
            if self._refused and self._ruleset.consent_full_block:
                self.steps.append(f"{Refusal.CONSENT.value}: with a holdout that blocks every flag")
                return
            drawn = self._draw("holdout", str(holdout.experiment_id), holdout.shares)
            self.hashes.append(drawn)
            if drawn.result == HELD_OUT_KEY:
                self.steps.append("held out: the default")
                return
        place = self._ruleset.group_place(model)
        if place is not None:
            lot = self._lot("group", model.group or "", [str(number) for number in range(place[1])])
            self.hashes.append(lot)
            if lot.result != str(place[0]):
                self.steps.append(f"another flag of the group {model.group!r} won: the default")
                return
        for rule in self._flag.rules:
            is_over, seen = self._rule(rule)
            self.rules.append(seen)
            if is_over:
                return
        self.steps.append("no rule decided: the default")

    def _rule(self, rule: CompiledRule) -> tuple[bool, RuleExplanation]:
        """Whether the rule ends the search, and what was seen of it."""
        record, model = self._record, rule.model
        hashes: list[HashExplanation] = []
        conditions: tuple[ConditionExplanation, ...] = ()
        is_targeted: bool | None = None

        def end(outcome: str, *, is_over: bool = True) -> tuple[bool, RuleExplanation]:
            return is_over, RuleExplanation(
                id=model.id,
                type=model.type.value,
                experiment_id=model.experiment_id,
                segment_id=None if model.segment is None else model.segment.id,
                is_targeted=is_targeted,
                conditions=conditions,
                hashes=tuple(hashes),
                outcome=outcome,
            )

        forced = (
            None if record is None or model.experiment_id is None else (record.forced or {}).get(model.experiment_id)
        )
        if forced is not None and forced.force_targeting:
            return end(f"forced to {forced.variation_key!r}, whoever it is for")
        is_targeted = rule.matches is None or rule.matches(record, self._code, self._now_ms, model.experiment_id)
        if model.segment is not None:
            conditions = self._conditions(model.segment, model.experiment_id)
        if not is_targeted:
            return end("not for this visitor", is_over=False)
        if forced is not None:
            return end(f"forced to {forced.variation_key!r}")
        suffix = rule.exposure_suffix
        exposed = self._hash("exposition", suffix, [("exposed", float(model.exposition))])
        hashes.append(exposed)
        if exposed.result is None:
            return end("not exposed: the default" if rule.is_delivery else "not exposed", is_over=rule.is_delivery)
        if self._refused and rule.is_experimentation:
            blocked = self._ruleset.consent_full_block
            return end("blocked: consent was refused" if blocked else "consent was refused: the default")
        suffix = f"{model.experiment_id}{model.respool}"
        best = self._best_scored(rule)
        if best:
            if len(best) > 1:
                hashes.append(self._lot("scores", suffix, best))
            return end(f"best scores: gives {hashes[-1].result if len(best) > 1 else best[0]!r}")
        if rule.is_delivery:
            return end(
                f"delivers {model.shares[0].variation_key!r}" if model.shares else "delivers nothing: the default"
            )
        drawn = self._draw("variation", suffix, model.shares)
        hashes.append(drawn)
        if drawn.result is None:
            return end("no share reaches the hash", is_over=False)
        return end(f"gives {drawn.result!r}")

    def _best_scored(self, rule: CompiledRule) -> list[str]:
        record = self._record
        scores = None if record is None else record.scores
        for group in (scores or {}).get(rule.model.experiment_id, ()) if rule.model.experiment_id is not None else ():
            best = [str(share.variation_key) for share in rule.model.shares if share.variation_id in group]
            if best:
                return best
        return []

    def _hash(self, purpose: str, suffix: str, bounds: Sequence[tuple[str, float]]) -> HashExplanation:
        text = self._hashed + suffix
        value = fraction(digest(text))
        result = next((name for name, bound in bounds if value <= bound), None)
        return HashExplanation(purpose, text, value, tuple(bounds), result)

    def _draw(self, purpose: str, suffix: str, shares: Sequence[Share]) -> HashExplanation:
        total, bounds = 0.0, []
        for share in shares:
            total += share.exposition
            bounds.append((str(share.variation_key), total))
        return self._hash(purpose, suffix, bounds)

    def _lot(self, purpose: str, suffix: str, names: list[str]) -> HashExplanation:
        text = self._hashed + suffix
        value = fraction(digest(text))
        bounds = tuple((name, (place + 1) / len(names)) for place, name in enumerate(names))
        return HashExplanation(purpose, text, value, bounds, names[min(int(value * len(names)), len(names) - 1)])

    def _conditions(self, segment: Segment, experiment_id: Any) -> tuple[ConditionExplanation, ...]:
        if segment.tree is None:
            return ()
        return tuple(
            self._condition(condition, place, experiment_id)
            for place, group in enumerate(segment.tree.groups)
            for condition in group.conditions
        )

    def _condition(self, condition: Condition, group: int, experiment_id: Any) -> ConditionExplanation:
        problems: list[str] = []
        test = compile_condition(condition, self._ruleset, problems.append)
        kind = condition.type or "None"
        return ConditionExplanation(
            type=kind,
            group=group,
            include=condition.include,
            expected=_expected(condition.fields),
            actual=_actual(kind, condition.fields, self._record, self._code),
            matched=test(self._record, self._code, self._now_ms, experiment_id),
            problem=problems[0] if problems else None,
        )


_NOT_SHOWN = frozenset({"targetingType", "isInclude", "id", "weight"})


def _expected(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{shown(name)[1:-1]} {shown(value)}" for name, value in fields.items() if name not in _NOT_SHOWN)


def _actual(kind: str, fields: Mapping[str, Any], record: VisitorRecord | None, code: str) -> str:
    if kind == "VISITOR_CODE":
        return shown(code)
    if kind in ("SDK_LANGUAGE", "SEGMENT"):
        return "this SDK" if kind == "SDK_LANGUAGE" else "see the segment"
    if record is None:
        return "an unknown visitor"
    look = _LOOKS.get(kind)
    found = None if look is None else look(record, fields)
    return "nothing" if found is None or found in ([], {}, ()) else shown(found)


def _datum(record: VisitorRecord, fields: Mapping[str, Any]) -> Any:
    name = fields.get("customDataIndex")
    if not isinstance(name, str) or not name.isdecimal() or len(name) > 18:
        return None
    datum = record.custom_data.get(int(name))
    return None if datum is None else list(datum.values)


def _browser(record: VisitorRecord, _: Mapping[str, Any]) -> Any:
    return (
        None if record.browser is None else f"{record.browser.browser_type.name} {record.browser.version or ''}".strip()
    )


def _past(record: VisitorRecord, _: Mapping[str, Any]) -> Any:
    visits = [] if record.visits is None else [visit.started_ms for visit in record.visits.previous]
    return {"this visit": record.started_ms, "earlier": visits}


_LOOKS: dict[str, Callable[[VisitorRecord, Mapping[str, Any]], Any]] = {
    "CUSTOM_DATUM": _datum,
    "BROWSER": _browser,
    "DEVICE_TYPE": lambda record, _: None if record.device is None else record.device.device_type.name,
    "OPERATING_SYSTEM": lambda record, _: (
        None if record.operating_system is None else record.operating_system.os_type.name
    ),
    "GEOLOCATION": lambda record, _: (
        None
        if record.geolocation is None
        else [record.geolocation.country, record.geolocation.region, record.geolocation.city]
    ),
    "COOKIE": lambda record, _: None if record.cookie is None else dict(record.cookie.cookies),
    "APPLICATION_VERSION": lambda record, _: (
        None if record.application_version is None else record.application_version.version
    ),
    "PAGE_URL": lambda record, _: [visit.view.url for visit in list(record.page_views.values())],
    "PAGE_TITLE": lambda record, _: [visit.view.title for visit in list(record.page_views.values())],
    "PREVIOUS_PAGE": lambda record, _: [visit.view.url for visit in list(record.page_views.values())],
    "PAGE_VIEWS": lambda record, _: sum(visit.views for visit in list(record.page_views.values())),
    "CONVERSIONS": lambda record, _: [item.conversion.goal_id for item in list(record.conversions)],
    "VISITS": _past,
    "SAME_DAY_VISITS": _past,
    "NEW_VISITORS": _past,
    "FIRST_VISIT": _past,
    "LAST_VISIT": _past,
    "HEAT_SLICE": lambda record, _: record.heat,
    "TARGET_FEATURE_FLAG": lambda record, _: {key: item.variation_id for key, item in list(record.assignments.items())},
    "TARGET_EXPERIMENT": lambda record, _: {key: item.variation_id for key, item in list(record.assignments.items())},
    "TARGET_PERSONALIZATION": lambda record, _: list(record.personalizations),
    "EXCLUSIVE_EXPERIMENT": lambda record, _: [*record.assignments, *record.personalizations],
}
