"""
Evaluations and their side effects: the engine decides, the store remembers, the tracker hears of it.

Source:
    Which method saves, registers and raises what: recorded cases in ``tests/vectors/rules.json``, ``variables.json`` and
    ``errors.json``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from kameleoon._engine.choice import Refusal
from kameleoon._runtime.intake import check_code
from kameleoon._visitor.facts import Forced, InSegments, Simulated
from kameleoon._visitor.record import Assignment, Forcing, Simulation
from kameleoon.cookies import read_simulation
from kameleoon.exceptions import (
    FeatureEnvironmentDisabled,
    FeatureExperimentNotFound,
    FeatureNotFound,
    FeatureVariationNotFound,
    VisitorCodeInvalid,
)
from kameleoon.logging.kameleoon_logger import KameleoonLogger
from kameleoon.types.details import Details
from kameleoon.types.explanation import Explanation
from kameleoon.types.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kameleoon._datafile.model import Rule
    from kameleoon._engine.choice import Choice
    from kameleoon._engine.seam import AnyFlag, AnyRuleset
    from kameleoon._runtime.configuration import Configuration
    from kameleoon._visitor.record import Visitor, VisitorRecord
    from kameleoon.stores import VisitorStore

TRACKING_CODE_WINDOW_MS = 5_000
"""An assignment older than this is not told to the page."""

_QUEUE = "window.kameleoonQueue=window.kameleoonQueue||[];"


def now_ms() -> int:
    """Wall clock in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Evaluation:
    """
    Decisions of one client.

    Args:
        configuration: Gives the ruleset in force.
        store: Where visitors are.
        environment: Named in errors.

    Attributes:
        decide_tracked: ``(visitor code, flag key, track) -> choice``: what `decide` answers, remembered; a refusal is given back
            rather than raised. The path of nearly all evaluations. The code is checked already. It raises `FeatureNotFound` for
            a key of no flag, and `VisitorCodeInvalid` for a code that cannot be encoded.
    """

    __slots__ = ("_configuration", "_environment", "_store", "decide_tracked")

    def __init__(self, configuration: Configuration, store: VisitorStore, environment: str | None) -> None:
        self._configuration = configuration
        self._store = store
        self._environment = environment
        self.decide_tracked = self._make_decide_tracked()

    @property
    def ruleset(self) -> AnyRuleset:
        """The ruleset in force."""
        return self._configuration.ruleset

    def flag(self, feature_key: str) -> AnyFlag:
        """
        A flag of the ruleset in force.

        Raises:
            FeatureNotFound: There is none.
        """
        return _flag(self._configuration.ruleset, feature_key)

    def check_enabled(self, flag: AnyFlag) -> None:
        """
        Refuse a flag that is disabled in the environment.

        Raises:
            FeatureEnvironmentDisabled: It is.
        """
        if not flag.is_enabled:
            raise FeatureEnvironmentDisabled.for_feature(flag.key, self._environment)

    def decide(self, code: str, flag: AnyFlag, *, save: bool = True, track: bool = True) -> Choice:
        """
        The flag's answer for one visitor.

        Args:
            code: The visitor code.
            flag: The flag.
            save: Whether what he is given is remembered.
            track: Whether what is remembered is to be sent.

        Raises:
            FeatureEnvironmentDisabled: The flag is disabled, or consent blocks it.
            VisitorCodeInvalid: The code cannot be encoded.
        """
        now = time.time_ns() // 1_000_000
        choice, _ = self._decide(code, flag, self._store.read(code), now, save, track)
        if choice.refusal is not None:
            raise self.refused(flag.key, choice)
        return choice

    def _make_decide_tracked(self) -> Callable[[str, str, bool], Choice]:
        """`decide_tracked`, with all it needs bound beforehand: each look into an object would be felt."""
        configuration, read, assign, clock_ns = self._configuration, self._store.read, self._store.assign, time.time_ns

        def decide_tracked(code: str, feature_key: str, track: bool) -> Choice:
            try:
                flag = configuration.ruleset.compiled[feature_key]
            except (KeyError, TypeError):
                flag = self.flag(feature_key)
            visitor = read(code)
            now = clock_ns() // 1_000_000
            if visitor is None:
                record = None
            else:
                if flag.settled_by is not None:
                    again = _given_again(visitor, flag.settled_by, track, now)
                    if again is not None:
                        return again
                record = visitor.record
            try:
                choice, held = flag.decide(record, code, now)
            except UnicodeEncodeError as error:
                raise VisitorCodeInvalid(f"cannot be encoded as UTF-8: {error.reason}") from None
            if held is not None:
                visitor = self._hold(code, visitor, held, track, now)
            if choice.is_stored:
                assign(code, visitor, choice, track, now)
            return choice

        return decide_tracked

    def decide_all(self, code: str, *, save: bool, track: bool = True) -> Iterator[tuple[str, Choice]]:
        """``(flag key, answer)`` of every flag that gives one, in the configuration's order; arguments as in `decide`."""
        ruleset = self._configuration.ruleset
        visitor = self._store.read(code)
        now = time.time_ns() // 1_000_000
        for key in ruleset.flag_keys:
            flag = ruleset.flag(key)
            choice = None
            if save and visitor is not None and flag.settled_by is not None:
                choice = _given_again(visitor, flag.settled_by, track, now)
            if choice is None:
                choice, visitor = self._decide(code, flag, visitor, now, save, track)
            if choice.refusal is None:
                yield key, choice

    def _decide(
        self, code: str, flag: AnyFlag, visitor: Visitor | None, now: int, save: bool, track: bool
    ) -> tuple[Choice, Visitor | None]:
        """The answer, and the visitor as he is after it."""
        try:
            choice, held = flag.decide(None if visitor is None else visitor.record, code, now)
        except UnicodeEncodeError as error:
            raise VisitorCodeInvalid(f"cannot be encoded as UTF-8: {error.reason}") from None
        if save:
            if held is not None:
                visitor = self._hold(code, visitor, held, track, now)
            if choice.is_stored:
                visitor = self._store.assign(code, visitor, choice, track, now)
        return choice, visitor

    def _hold(
        self, code: str, visitor: Visitor | None, held: Sequence[Choice], track: bool, now: int
    ) -> Visitor | None:
        for choice in held:
            if choice.is_stored:
                visitor = self._store.assign(code, visitor, choice, track or choice.is_always_sent, now)
        return visitor

    def explain(self, code: str, feature_key: str) -> Explanation:
        """
        Why the flag answers the visitor as it does. Changes nothing, and is no activity of his.

        Raises:
            FeatureNotFound: There is no such flag.
            VisitorCodeInvalid: The code cannot be encoded.
        """
        ruleset = self._configuration.ruleset
        _flag(ruleset, feature_key)
        visitor = self._store.peek(code)
        record = None if visitor is None else visitor.record
        try:
            seen = ruleset.walk(feature_key, record, code, now_ms())
        except UnicodeEncodeError as error:
            raise VisitorCodeInvalid(f"cannot be encoded as UTF-8: {error.reason}") from None
        choice = seen.choice
        return Explanation(
            visitor_code=code,
            feature_key=feature_key,
            variation=None if choice.refusal is not None else choice.variation,
            reason=seen.reason,
            rule=None if choice.rule is None else choice.rule.id,
            is_known=record is not None,
            is_stale=self._is_stale,
            hashed_code=seen.hashed_code,
            steps=seen.steps,
            hashes=seen.hashes,
            rules=seen.rules,
            problems=seen.problems,
        )

    def details(self, code: str, feature_key: str, default: Any) -> Details:
        """
        The flag's answer and its reason. Never raises, changes nothing, and is no activity of the visitor's.

        Args:
            code: The visitor code.
            feature_key: The flag.
            default: The value when there is no answer. A boolean asks whether the flag is on, anything else for the
                variation's key.
        """
        try:
            check_code(code)
            flag = self.flag(feature_key)
            visitor = self._store.peek(code)
            choice, _ = flag.decide(None if visitor is None else visitor.record, code, now_ms())
            if choice.refusal is not None:
                return Details(default, None, Reason.DISABLED, error=self.refused(flag.key, choice))
        except UnicodeEncodeError as error:
            invalid = VisitorCodeInvalid(f"cannot be encoded as UTF-8: {error.reason}")
            return Details(default, None, Reason.ERROR, error=invalid)
        except Exception as error:  # a store of the application's own may raise anything
            return Details(default, None, Reason.ERROR, error=error)
        value = choice.is_active if isinstance(default, bool) else choice.variation_key
        rule = None if choice.rule is None else choice.rule.id
        return Details(value, choice.variation, Reason.STALE if self._is_stale else choice.reason, rule)

    @property
    def _is_stale(self) -> bool:
        return self._configuration.is_ready and self._configuration.failure is not None

    def refused(self, feature_key: str, choice: Choice) -> FeatureEnvironmentDisabled:
        """The error that stands for a *choice* with a refusal."""
        if choice.refusal is Refusal.ENVIRONMENT:
            return FeatureEnvironmentDisabled.for_feature(feature_key, self._environment)
        return FeatureEnvironmentDisabled(f"Feature '{feature_key}' is blocked: the visitor refused consent")

    # --- forcing and simulating ---------------------------------------------------------------------------------------

    def force(self, code: str, experiment_id: int, variation_key: str | None, *, force_targeting: bool) -> None:
        """
        Force a variation for an experiment, or with no key take the forcing away.

        Raises:
            FeatureExperimentNotFound: No rule has that experiment.
            FeatureVariationNotFound: The experiment has no variation of that key.
        """
        if variation_key is None:
            if self._store.read(code) is not None:
                self._store.write(code, [Forced(experiment_id, None)], now_ms())
            return
        found = self._configuration.ruleset.of_experiment(experiment_id)
        if found is None:
            raise FeatureExperimentNotFound(experiment_id)
        share = next((share for share in found[1].shares if share.variation_key == variation_key), None)
        if share is None:
            raise FeatureVariationNotFound(variation_key)
        forcing = Forcing(share.variation_key, share.variation_id, bool(force_targeting))
        self._store.write(code, [Forced(experiment_id, forcing)], now_ms())

    def simulate(self, code: str, raw: str) -> None:
        """Take over the simulation cookie's answers; what of it cannot be used is logged and left out."""
        wanted = read_simulation(raw)
        if wanted is None:
            KameleoonLogger.error("The simulation cookie is not a JSON object and was left out")
            return
        simulations: dict[str, Simulation] = {}
        for key, entry in wanted.items():
            try:
                simulations[key] = self._simulation(key, entry)
            except (FeatureNotFound, ValueError) as error:
                KameleoonLogger.error("A simulated variation of %s was left out: %s", key, str(error))
        self._store.write(code, [Simulated(simulations)], now_ms())

    def _simulation(self, key: str, entry: Any) -> Simulation:
        experiment_id = entry.get("expId") if isinstance(entry, dict) else None
        if not isinstance(experiment_id, int) or experiment_id < 0:
            raise ValueError("expected an object with expId, 0 or more")
        flag = self.flag(key)
        if experiment_id == 0:
            return Simulation(None, None, None, None)
        variation_id = entry.get("varId")
        if not isinstance(variation_id, int) or variation_id < 0:
            raise ValueError("expected varId, 0 or more")
        # Of several rules with the experiment the first counts, as for the service's own SDK.
        for rule in [rule for rule in flag.model.rules if rule.experiment_id == experiment_id][:1]:
            for share in rule.shares:
                if share.variation_id == variation_id:
                    return Simulation(share.variation_key, variation_id, experiment_id, rule.id)
        raise ValueError(f"the flag has no variation {variation_id} in an experiment {experiment_id}")

    # --- what pages and audiences need --------------------------------------------------------------------------------

    def audiences(self, code: str) -> None:
        """Remember, to be sent, which tracked audience segments the visitor is in."""
        now = now_ms()
        found = self._configuration.ruleset.audiences(self._record(code), code, now)
        if found:
            self._store.write(code, [InSegments(found)], now)

    def tracking_code(self, code: str) -> str:
        """JavaScript that tells a page which variations the visitor was just given."""
        record = self._record(code)
        statements = [_QUEUE]
        since_ms = now_ms() - TRACKING_CODE_WINDOW_MS
        for assignment in [] if record is None else list(record.assignments.values()):
            if assignment.time_ms > since_ms:
                experiment, variation = assignment.experiment_id, assignment.variation_id
                trigger = "false" if self._configuration.ruleset.has_page_code(experiment) else "true"
                statements.append(
                    f"window.kameleoonQueue.push(['Experiments.assignVariation',{experiment},{variation},true]);"
                    f"window.kameleoonQueue.push(['Experiments.trigger',{experiment},{trigger}]);"
                )
        return "".join(statements)

    def _record(self, code: str) -> VisitorRecord | None:
        visitor = self._store.read(code)
        return None if visitor is None else visitor.record


def _given_again(visitor: Visitor, rule: Rule, track: bool, now: int) -> Choice | None:
    """
    What *rule* gave the visitor before, given once more.

    Args:
        visitor: The visitor as the store gave him.
        rule: `AnyFlag.settled_by`.
        track: Whether it is to be sent.
        now: Milliseconds since 1970.

    Returns:
        ``None`` when it must be decided, or the store told.
    """
    # Codes that share a record are not drawn by themselves.
    if visitor.joined is not None or not visitor.is_plain:
        return None
    given = visitor.assignments
    known = given if type(given) is Assignment else given.get(rule.experiment_id)  # type: ignore[arg-type]
    if known is None:
        return None
    choice: Choice | None = known.given  # type: ignore[assignment]  # the store had it from here
    if choice is None or choice.rule is not rule:
        return None
    known.time_ms = now
    known.unsent = track
    return None if visitor.is_stale else choice


def _flag(ruleset: AnyRuleset, feature_key: str) -> AnyFlag:
    try:
        return ruleset.flag(feature_key)
    except (KeyError, TypeError):
        raise FeatureNotFound(feature_key) from None
