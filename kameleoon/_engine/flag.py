"""
One flag, compiled: which variation a visitor gets.

Source:
    The order of evaluation, holdout, groups, consent, forced and simulated variations and bandit scores as recorded in
    ``tests/vectors/rules.json``, ``consent.json`` and ``visitor_data.json``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

from kameleoon._datafile.model import RuleType
from kameleoon._engine.choice import HELD_OUT_KEY, Choice, Refusal, make_choice
from kameleoon._engine.hashing import ALWAYS, NEVER, SHORT, digest, fraction, limit, short_sha256
from kameleoon.types._read_only import read_only
from kameleoon.types.reason import Reason
from kameleoon.types.variable import Variable
from kameleoon.types.variation import Variation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kameleoon._datafile.model import Flag, Rule, Share
    from kameleoon._engine.tree import Test
    from kameleoon._visitor.record import Forcing, Simulation, VisitorRecord


Answer = tuple[Choice, "tuple[Choice, ...] | None"]
"""The choice, and what else is to be remembered, such as the holdout's choice; ``None`` for nothing."""

Decide = Callable[["VisitorRecord | None", str, int], Answer]
"""See `CompiledFlag.decide`."""

Step = tuple["Test | None", "int | None", "bytes | None", "str | None", bool, "Answer | None", str, "tuple[Entry, ...]"]
"""
A rule of a plain flag: targeting, experiment id, limit of the exposition (``None`` for all), what is hashed for it, whether it is a
delivery, what everybody exposed gets, else what is hashed, and the answers up to each bound.
"""


Entry = tuple[bytes, Answer]
"""A limit, and what a visitor gets whose hash is at most that."""


class Table:
    """
    Choices by place: the first one whose running sum of shares reaches the visitor's hash.

    Args:
        shares: Each choice's share, in order. The sums are plain additions from the left.
        choices: The choice of each share.
        suffix: What is appended to the code before hashing.

    Attributes:
        entries: Limits and answers, in order.
        certain: What everybody gets, when that is so.
    """

    __slots__ = ("certain", "entries", "suffix")

    def __init__(self, shares: Sequence[float], choices: Sequence[Choice], suffix: str) -> None:
        self.suffix = suffix
        total = 0.0
        entries = []
        for share, choice in zip(shares, choices, strict=True):
            total += share
            entries.append((limit(total), (choice, None)))
        self.entries: tuple[Entry, ...] = tuple(entries)
        self.certain = entries[0][1] if entries and entries[0][0] is ALWAYS else None

    def choose(self, code: str) -> Choice | None:
        """The choice for *code*, ``None`` when all shares together stay below its hash."""
        if self.certain is not None:
            return self.certain[0]
        if self.entries:
            place = digest(code + self.suffix)
            for bound, (choice, _) in self.entries:
                if place <= bound:
                    return choice
        return None


class CompiledRule:
    """One rule: whom it is for, whom it exposes, what they get."""

    __slots__ = (
        "experiment_id",
        "exposed",
        "is_delivery",
        "is_experimentation",
        "matches",
        "model",
        "table",
    )

    def __init__(self, model: Rule, choices: Sequence[Choice], matches: Test | None) -> None:
        self.model = model
        self.matches = matches
        self.experiment_id = model.experiment_id
        self.is_delivery = model.type is RuleType.TARGETED_DELIVERY
        self.is_experimentation = model.type is RuleType.EXPERIMENTATION
        self.exposed = limit(model.exposition)
        self.table = Table(
            [share.exposition for share in model.shares], choices, f"{model.experiment_id}{model.respool}"
        )

    @property
    def choices(self) -> tuple[Choice, ...]:
        """What it can give, in the order of its shares."""
        return tuple([choice for _, (choice, _) in self.table.entries])

    @property
    def exposure_suffix(self) -> str:
        """What is appended to the code before it is hashed for the exposition."""
        return f"{self.model.id}{self.model.respool}"

    def exposes(self, code: str) -> bool:
        """Whether the rule's exposition takes *code* in."""
        return self.exposed is ALWAYS or digest(code + self.exposure_suffix) <= self.exposed

    def by_scores(self, code: str, record: VisitorRecord) -> Choice | None:
        """The choice of the contextual bandit: among the best scored variations of this rule, by hash."""
        groups = record.scores.get(self.experiment_id) if record.scores and self.experiment_id is not None else None
        for group in groups or ():
            candidates = [choice for choice in self.choices if choice.variation_id in group]
            if candidates:
                if len(candidates) == 1:
                    return candidates[0]
                place = fraction(digest(code + self.table.suffix))
                return candidates[min(int(place * len(candidates)), len(candidates) - 1)]
        return None


class Surroundings(Protocol):
    """What of the rest of the configuration decides about a flag."""

    @property
    def consent_required(self) -> bool:
        """Whether a visitor's refusal counts."""

    @property
    def consent_full_block(self) -> bool:
        """Whether a refusal takes the flag away instead of giving the default."""

    @property
    def holdout(self) -> Table | None:
        """The site-wide holdout."""

    def rule_test(self, rule: Rule) -> Test | None:
        """The test of the rule's segment, ``None`` when the rule is for everybody."""

    def group_place(self, flag: Flag) -> tuple[int, int] | None:
        """The flag's place in its mutually exclusive group and the group's size, ``None`` without a group."""

    def bucketing_index(self, flag: Flag) -> int | None:
        """Index of the custom data whose first value is hashed instead of the visitor code."""


class CompiledFlag:
    """
    A flag ready to decide, an `AnyFlag`.

    Args:
        flag: The model.
        around: The rest of the configuration.

    Attributes:
        decide: See `AnyFlag.decide`.
        model: The model, without its variations.
        settled_by: See `AnyFlag.settled_by`.
    """

    __slots__ = (
        "_around",
        "_bucketing_index",
        "_by_default",
        "_group",
        "_variations",
        "decide",
        "default",
        "key",
        "model",
        "rules",
        "settled_by",
    )

    def __init__(self, flag: Flag, around: Surroundings) -> None:
        # What the answers hold already is not kept a second time; the public view reads the flag anew.
        self.model = replace(flag, variations=())
        self.key = flag.key
        self._variations: dict[str, tuple[str, dict[str, Variable], dict[str, Variable]]] = {}
        for variation in flag.variations:
            if variation.key not in self._variations:
                first: dict[str, Variable] = {}
                last: dict[str, Variable] = {}
                for variable in variation.variables:
                    public = Variable(variable.key, variable.type, variable.value)
                    first.setdefault(variable.key, public)
                    last[variable.key] = public
                shared = read_only(last)  # one for all choices that give the variation
                has_duplicates = len(last) < len(variation.variables)
                values = first if has_duplicates else shared
                self._variations[variation.key] = (variation.name, values, shared)
        default_key = flag.default_variation_key
        self.default = self._choice(default_key, None, None, Reason.DEFAULT)
        self._around = around
        group = around.group_place(flag)
        self._group = None if group is None else (flag.group or "", *group)
        self._bucketing_index = around.bucketing_index(flag)
        self.rules = tuple(self._compile_rule(rule, around) for rule in flag.rules)
        self._by_default: Answer = (self.default, None)
        self.settled_by: Rule | None = None
        self.decide = self._make_decide()

    def _make_decide(self) -> Decide:
        """
        The way to the answer that this flag needs: the full order of evaluation only where something of it can matter.

        What a plain flag's rules need is bound beforehand, as the path of nearly all evaluations has no time to look for it.
        """
        fully, by_default = self._decide_fully, self._by_default
        if (
            not self.model.enabled
            or self._around.holdout is not None
            or self._group is not None
            or self._bucketing_index
        ):
            return fully
        steps = tuple(self._step(rule) for rule in self.rules)
        if len(steps) == 1:
            if self.rules[0].matches is None:
                self.settled_by = self.rules[0].model
            return _one_rule(steps[0], by_default, fully)

        def decide(record: VisitorRecord | None, code: str, now_ms: int) -> Answer:
            if record is not None and not record.is_plain:
                return fully(record, code, now_ms)
            for matches, experiment_id, exposed, exposure_suffix, is_delivery, certain, suffix, entries in steps:
                if matches is not None and not matches(record, code, now_ms, experiment_id):
                    continue
                if exposed is not None and digest(code + exposure_suffix) > exposed:  # type: ignore[operator]  # both or none
                    if is_delivery:
                        break
                    continue
                if certain is not None:
                    return certain
                if entries:
                    place = digest(code + suffix)
                    for bound, answer in entries:
                        if place <= bound:
                            return answer
            return by_default

        return decide

    def _step(self, rule: CompiledRule) -> Step:
        certain: Answer | None = None
        entries: tuple[Entry, ...] = ()
        if rule.is_delivery:
            certain = rule.table.entries[0][1] if rule.table.entries else self._by_default
        elif rule.table.certain is not None:
            certain = rule.table.certain
        else:
            entries = rule.table.entries
        exposed, exposure_suffix = (None, None) if rule.exposed is ALWAYS else (rule.exposed, rule.exposure_suffix)
        return (
            rule.matches,
            rule.experiment_id,
            exposed,
            exposure_suffix,
            rule.is_delivery,
            certain,
            rule.table.suffix,
            entries,
        )

    @property
    def is_enabled(self) -> bool:
        """Whether the flag is enabled in the environment."""
        return bool(self.model.enabled)

    def variables_of(self, variation_key: str) -> dict[str, Variable] | None:
        """``{variable key: variable}`` of a variation, of duplicates the last; ``None`` when there is no such variation."""
        known = self._variations.get(variation_key)
        return None if known is None else known[2]

    def _choice(
        self,
        key: str,
        variation_id: int | None,
        experiment_id: int | None,
        reason: Reason,
        rule: Rule | None = None,
        *,
        refusal: Refusal | None = None,
    ) -> Choice:
        known = self._variations.get(key)
        if known is None:
            variation, values = Variation("", variation_id, experiment_id, {}, ""), None
        else:
            name, values, variables = known
            variation = Variation(key, variation_id, experiment_id, variables, name)
        is_delivery = rule is not None and rule.type is RuleType.TARGETED_DELIVERY
        return make_choice(variation, values, key, reason, rule, is_delivery=is_delivery, refusal=refusal)

    def _compile_rule(self, rule: Rule, around: Surroundings) -> CompiledRule:
        reason = Reason.TARGETING_MATCH if rule.type is RuleType.TARGETED_DELIVERY else Reason.SPLIT
        choices = [
            self._choice(share.variation_key, share.variation_id, rule.experiment_id, reason, rule)
            for share in rule.shares
        ]
        return CompiledRule(rule, choices, around.rule_test(rule))

    def hash_code(self, record: VisitorRecord | None, code: str) -> str:
        """The text that stands for the visitor in this flag's hashes."""
        if record is None:
            return code
        if self._bucketing_index:
            datum = record.custom_data.get(self._bucketing_index)
            if datum is not None and datum.values:
                value = datum.values[0]
                return value if isinstance(value, str) else str(value)
        return record.mapping_identifier or code

    def _decide_fully(self, record: VisitorRecord | None, code: str, now_ms: int) -> Answer:
        """As `decide`, in the full order of evaluation, whatever flag and visitor are."""
        if record is not None and record.simulated is not None:
            simulation = record.simulated.get(self.key)
            if simulation is not None:
                return self._simulated(simulation), None
        if not self.model.enabled:
            return self._refusal(Refusal.ENVIRONMENT), None
        around = self._around
        hashed = self.hash_code(record, code)
        refused = around.consent_required and record is not None and record.consent is False
        held: tuple[Choice, ...] | None = None
        if around.holdout is not None:
            if refused and around.consent_full_block:
                return self._refusal(Refusal.CONSENT), None
            drawn = around.holdout.choose(hashed)
            if drawn is not None:
                held = (drawn,)
                if drawn.variation_key == HELD_OUT_KEY:
                    return self.default, held
        if self._group is not None and not self._wins_group(hashed):
            return self.default, held
        forced = None if record is None else record.forced
        for rule in self.rules:
            forcing = forced.get(rule.experiment_id) if forced and rule.experiment_id is not None else None
            if forcing is not None and forcing.force_targeting:
                return self._forced(rule, forcing), held
            if rule.matches is not None and not rule.matches(record, code, now_ms, rule.experiment_id):
                continue
            if forcing is not None:
                return self._forced(rule, forcing), held
            if not rule.exposes(hashed):
                if rule.is_delivery:
                    return self.default, held
                continue
            if refused and rule.is_experimentation:
                return (self._refusal(Refusal.CONSENT) if around.consent_full_block else self.default), held
            if record is not None and record.scores is not None:
                scored = rule.by_scores(hashed, record)
                if scored is not None:
                    return scored, held
            if rule.is_delivery:
                return (rule.table.entries[0][1][0] if rule.table.entries else self.default), held
            choice = rule.table.choose(hashed)
            if choice is not None:
                return choice, held
        return self.default, held

    def _refusal(self, refusal: Refusal) -> Choice:
        return replace(self.default, reason=Reason.DISABLED, refusal=refusal)

    def _wins_group(self, code: str) -> bool:
        assert self._group is not None
        name, place, size = self._group
        return min(int(fraction(digest(code + name)) * size), size - 1) == place

    def _forced(self, rule: CompiledRule, forcing: Forcing) -> Choice:
        return self._choice(
            forcing.variation_key, forcing.variation_id, rule.experiment_id, Reason.TARGETING_MATCH, rule.model
        )

    def _simulated(self, simulation: Simulation) -> Choice:
        if simulation.variation_key is None:
            return self.default
        choice = self._choice(
            simulation.variation_key, simulation.variation_id, simulation.experiment_id, Reason.TARGETING_MATCH
        )
        return replace(choice, is_stored=False)


def _one_rule(step: Step, by_default: Answer, fully: Decide) -> Decide:
    """`CompiledFlag.decide` of a plain flag with a single rule."""
    matches, experiment_id, exposed, exposure_suffix, _, certain, suffix, entries = step
    if certain is None and not entries:
        certain = by_default
    last = by_default
    if entries and entries[-1][0] is ALWAYS:  # whoever comes so far gets it, so that nothing is left to be compared
        last = entries[-1][1]
        entries = entries[:-1]
    if matches is None and exposed is None and certain is None:
        return _for_everybody(suffix, entries, last, fully)

    def decide(record: VisitorRecord | None, code: str, now_ms: int) -> Answer:
        if record is not None and not record.is_plain:
            return fully(record, code, now_ms)
        if matches is not None and not matches(record, code, now_ms, experiment_id):
            return by_default
        if exposed is not None and digest(code + exposure_suffix) > exposed:  # type: ignore[operator]  # both or none
            return by_default
        if certain is not None:
            return certain
        data = (code + suffix).encode()  # `digest`, without the call
        place = (short_sha256 if len(data) < SHORT else sha256)(data).digest()
        for bound, answer in entries:
            if place <= bound:
                return answer
        return last

    return decide


def _for_everybody(suffix: str, entries: tuple[Entry, ...], last: Answer, fully: Decide) -> Decide:
    """The same for a rule that is for everybody, as most are; `last` is what nobody in *entries* gets."""
    first_bound, first = entries[0] if entries else (NEVER, last)
    rest = entries[1:]

    def decide(record: VisitorRecord | None, code: str, now_ms: int) -> Answer:
        if record is not None and not record.is_plain:
            return fully(record, code, now_ms)
        data = (code + suffix).encode()
        place = (short_sha256 if len(data) < SHORT else sha256)(data).digest()
        if place <= first_bound:
            return first
        if rest:
            for bound, answer in rest:
                if place <= bound:
                    return answer
        return last

    return decide


def holdout_choice(share: Share, experiment_id: int) -> Choice:
    """What the holdout gives: never an answer of a flag, only something to remember."""
    variation = Variation(share.variation_key, share.variation_id, experiment_id, {}, "")
    # As the service's SDK does, which sends the holdout even of an evaluation that is not tracked.
    return replace(make_choice(variation, None, share.variation_key, Reason.SPLIT), is_always_sent=True)
