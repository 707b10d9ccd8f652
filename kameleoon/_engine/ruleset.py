"""
The compiled configuration: the engine's entry point.

Flags are compiled when they are first asked for, so that a configuration of many thousands answers at once. A ruleset never
changes its answers; compiling the same flag twice at once does no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kameleoon._datafile.model import Problem
from kameleoon._datafile.read import DataFile
from kameleoon._engine.conditions import NO_EXPERIMENT, compile_condition
from kameleoon._engine.explain import Walk, walk
from kameleoon._engine.flag import CompiledFlag, Table, holdout_choice
from kameleoon._engine.patterns import Patterns
from kameleoon._engine.segments import References
from kameleoon._engine.shown import shown
from kameleoon._engine.tree import Test, always, join, never
from kameleoon._engine.view import public_view

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    from kameleoon._datafile.decode import Steps
    from kameleoon._datafile.model import Catalogue, Flag, Rule, Segment, Settings
    from kameleoon._visitor.record import VisitorRecord
    from kameleoon.types.data_file import DataFile as PublicDataFile

Report = Callable[[Problem], None]

_NO_FLAG = object()

REGEX_TIMEOUT_S = 0.05
"""For matching one pattern, unless the settings say otherwise."""


class _Flags:
    """``flags[key]`` for `Ruleset.flag`."""

    __slots__ = ("_flag",)

    def __init__(self, flag: Callable[[str], CompiledFlag]) -> None:
        self._flag = flag

    def __getitem__(self, key: str) -> CompiledFlag:
        return self._flag(key)


class Ruleset:
    """
    A configuration ready to decide, an `AnyRuleset`.

    Args:
        data_file: The configuration.
        report: Told of each piece that is out of service, once, when it is found.
        regex_timeout_s: For matching one pattern, in seconds, above 0.

    Attributes:
        patterns: The regular expressions compiled so far, and how often one ran out of time.
        compiled: ``{flag key: compiled flag}`` of the flags asked for so far.
        flags: ``flags[key]`` is ``flag(key)``.
        problems: What was found out of service so far.
    """

    __slots__ = (
        "_audiences",
        "_references",
        "_report",
        "_segments",
        "_view",
        "compiled",
        "consent_full_block",
        "consent_required",
        "data_file",
        "flags",
        "holdout",
        "pattern",
        "patterns",
        "problems",
    )

    def __init__(
        self, data_file: DataFile, report: Report | None = None, regex_timeout_s: float = REGEX_TIMEOUT_S
    ) -> None:
        self.data_file = data_file
        self.patterns = Patterns(regex_timeout_s, self._out_of_time)
        self.pattern = self.patterns.compile
        self.problems: dict[Problem, None] = {}
        self._report = report
        settings, holdout = data_file.settings, data_file.holdout
        self.consent_required = settings.consent_required
        self.consent_full_block = settings.consent_full_block
        self.holdout = None
        if holdout is not None:
            self.holdout = Table(
                [share.exposition for share in holdout.shares],
                [holdout_choice(share, holdout.experiment_id) for share in holdout.shares],
                str(holdout.experiment_id),
            )
        self.compiled: dict[str, CompiledFlag] = {}
        self.flags = _Flags(self.flag)
        self._segments: dict[Hashable, Test] = {}
        self._references = References(data_file.segment)
        self._audiences: tuple[tuple[int, Test], ...] | None = None
        self._view: PublicDataFile | None = None
        for problem in data_file.problems:
            self._problem(problem)

    # --- what the client asks for -------------------------------------------------------------------------------------

    def flag(self, key: str) -> CompiledFlag:
        """
        A flag, compiled when it is first asked for.

        Raises:
            KeyError: There is none.
        """
        flag = self.compiled.get(key)
        if flag is None:
            flag = self.compiled[key] = self._compile(key)
        return flag

    def prepare(self) -> Steps[None]:
        """Compile what would hold up an answer, were it compiled while somebody waits for one."""
        if self.data_file.has_patterns:
            import regex  # noqa: F401, PLC0415 - takes too long to load for an evaluation that meets a pattern which needs it
        for segment_id in self.data_file.long_segments:
            self.segment_test(segment_id)
            yield
        for key in self.data_file.long_flags:
            self.flag(key)
            yield

    @property
    def flag_keys(self) -> Sequence[str]:
        """Keys of all flags, disabled ones too, in the configuration's order."""
        return self.data_file.flag_keys

    @property
    def catalogue(self) -> Catalogue:
        """The custom data known to the configuration."""
        return self.data_file.catalogue

    @property
    def settings(self) -> Settings:
        """The ``configuration`` object."""
        return self.data_file.settings

    @property
    def date_modified(self) -> int:
        """Time of the last change, in milliseconds since 1970; 0 when unknown."""
        return self.data_file.date_modified

    @property
    def pattern_timeouts(self) -> int:
        """How often a pattern ran out of time so far."""
        return self.patterns.timeouts

    def walk(self, key: str, record: VisitorRecord | None, code: str, now_ms: int) -> Walk:
        """See `AnyRuleset.walk`."""
        return walk(self, self.flag(key), record, code, now_ms)

    def goal_id(self, goal: Any) -> Any:
        """*goal* as it is: the configuration knows no goals."""
        return goal

    def view(self) -> PublicDataFile:
        """The configuration as applications see it; the same object at every call."""
        if self._view is None:
            self._view = public_view(self.data_file.date_modified, self._models())
        return self._view

    def of_experiment(self, experiment_id: Hashable) -> tuple[CompiledFlag, Rule] | None:
        """The flag and rule of an experiment; of several the last."""
        key = self.data_file.index.by_experiment.get(experiment_id)
        if key is None:
            return None
        flag = self.flag(key)
        rules = [rule for rule in flag.model.rules if rule.experiment_id == experiment_id]
        return (flag, rules[-1]) if rules else None

    def has_page_code(self, experiment_id: Hashable) -> bool:
        """
        Whether a flag with the experiment brings code for the page: the first of its variations has a JS or CSS variable.

        Source:
            docs/service/evaluation.md 1.6.
        """
        return experiment_id in self.data_file.index.with_page_code

    def has_delivery(self) -> bool:
        """Whether any flag enabled in the environment has a targeted delivery, which needs no consent."""
        return self.data_file.index.has_delivery

    def audiences(self, record: VisitorRecord | None, code: str, now_ms: int) -> tuple[int, ...]:
        """Ids of the tracked audience segments that the visitor is in, in the configuration's order."""
        if self._audiences is None:
            segments = (self.data_file.segment(segment_id) for segment_id in self.data_file.segment_ids)
            self._audiences = tuple(
                (segment.id, self._segment(segment))
                for segment in segments
                if segment is not None and segment.audience_tracking
            )
        return tuple(segment_id for segment_id, test in self._audiences if test(record, code, now_ms, NO_EXPERIMENT))

    # --- what flags and conditions ask for ----------------------------------------------------------------------------

    def rule_test(self, rule: Rule) -> Test | None:
        """The test of the rule's segment, ``None`` when the rule is for everybody."""
        if rule.segment is None:
            return None
        # Rules of the current shape share their segments; in the older shape each has its own.
        if not self.data_file.is_shared(rule.segment):
            return self._segment(rule.segment)
        test = self._segments.get(rule.segment.id)
        if test is None:
            test = self._segments[rule.segment.id] = self._segment(rule.segment)
        return test

    def segment_test(self, segment_id: Hashable) -> Test | None:
        """
        The test of the segment *segment_id* for a condition that refers to it.

        Returns:
            ``None`` when there is no such segment, or it leads back to itself or unfolds into too much.
        """
        if not self._references.is_usable(segment_id):
            return None
        test = self._segments.get(segment_id)
        if test is None:
            segment = self.data_file.segment(segment_id)
            assert segment is not None
            test = self._segments[segment_id] = self._segment(segment)
        return test

    def bucketing_index(self, flag: Flag) -> int | None:
        """Index of the custom data whose first value is hashed for the flag."""
        return self.catalogue.index_by_id.get(flag.bucketing_id) if flag.bucketing_id else None

    def group_place(self, flag: Flag) -> tuple[int, int] | None:
        """The flag's place among its mutually exclusive group, ordered by id, and the group's size."""
        if flag.group is None:
            return None
        places = self.data_file.index.groups[flag.group]
        return places[flag.key], len(places)

    def flag_experiments(self, flag_id: Hashable) -> Sequence[tuple[Hashable, Hashable]]:
        """``(rule id, experiment id)`` of each rule of the flag with the id *flag_id*."""
        key = self.data_file.index.by_id.get(flag_id, _NO_FLAG)
        return () if key is _NO_FLAG else self.data_file.experiments(key)

    def variation_key(self, variation_id: Hashable) -> Any:
        """Key of the variation with the id *variation_id* in any rule; of several the last."""
        return self.data_file.index.variation_keys.get(variation_id)

    def _out_of_time(self, source: str) -> None:
        reason = "took too long for a visitor's value; it counts as not matching such values"
        self._problem(Problem(f"regular expression {shown(source)}", reason))

    # --- compiling ----------------------------------------------------------------------------------------------------

    def _problem(self, problem: Problem) -> None:
        if problem not in self.problems:
            self.problems[problem] = None
            if self._report is not None:
                self._report(problem)

    def _models(self) -> Iterator[Flag]:
        for key in self.flag_keys:
            flag = self.data_file.flag(key)
            if flag is not None:
                for problem in flag.problems:
                    self._problem(problem)
                yield flag

    def _compile(self, key: str) -> CompiledFlag:
        flag = self.data_file.flag(key)
        if flag is None:
            raise KeyError(key)
        for problem in flag.problems:
            self._problem(problem)
        try:
            return CompiledFlag(flag, self)
        except Exception as error:  # a value nobody thought of; this flag alone has no rules and gives its default
            self._problem(Problem(f"featureFlags[{key}]", f"cannot be compiled: {type(error).__name__}"))
            return CompiledFlag(replace(flag, rules=(), group=None, bucketing_id=None), self)

    def _segment(self, segment: Segment) -> Test:
        """A segment's test; one that cannot be read, or unfolds into too much, matches nobody."""
        if segment.problem is not None:
            self._problem(segment.problem)
            return never
        if segment.tree is None:
            return always
        place = f"segments[{segment.id}]"
        if not self._references.is_bounded(segment):
            self._problem(Problem(place, "has too many conditions, those of the segments it refers to among them"))
            return never
        groups = [
            join(
                [
                    compile_condition(condition, self, lambda reason: self._problem(Problem(place, reason)))
                    for condition in group.conditions
                ],
                group.ors,
            )
            for group in segment.tree.groups
        ]
        return join(groups, segment.tree.ors)


def compile_ruleset(
    root: Mapping[str, Any], report: Report | None = None, regex_timeout_s: float = REGEX_TIMEOUT_S
) -> Ruleset:
    """
    A ruleset from a configuration's decoded JSON object.

    Args:
        root: The object; it is kept and must not be changed.
        report: Told of each piece that is out of service, once.
        regex_timeout_s: For matching one pattern, in seconds, above 0.
    """
    return Ruleset(DataFile(root), report, regex_timeout_s)


def compile_in_steps(
    root: Mapping[str, Any], report: Report | None = None, regex_timeout_s: float = REGEX_TIMEOUT_S
) -> Steps[Ruleset]:
    """`compile_ruleset`, in steps; what is long is compiled now rather than when it is first asked for."""
    ruleset = Ruleset((yield from DataFile.in_steps(root)), report, regex_timeout_s)
    yield from ruleset.prepare()
    return ruleset
