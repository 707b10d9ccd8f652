"""
The service's configuration JSON to the model.

The root is indexed at once; flags and segments are read when they are asked for, so that a large configuration answers soon. What
cannot be read is left out and told by a `Problem`; nothing here raises for anything inside the root object.

Source:
    The configuration keys, defaults and edge cases of the service's SDK configuration, version 3.22.2 and 3.4.0; recorded
    cases in ``tests/vectors/edge_cases.json``.
"""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from kameleoon._datafile.decode import exhaust
from kameleoon._datafile.index import FlagIndex
from kameleoon._datafile.model import (
    Catalogue,
    Condition,
    CustomDataEntry,
    Flag,
    Group,
    Holdout,
    Problem,
    Rule,
    RuleType,
    Segment,
    Settings,
    Share,
    Tree,
    Variable,
    Variation,
)
from kameleoon._datafile.pieces import flag_piece, is_hashable, objects, read_piece, segment_piece

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    from kameleoon._datafile.decode import Steps
    from kameleoon._datafile.pieces import Content, FlagPiece, SegmentPiece

P = TypeVar("P", "FlagPiece", "SegmentPiece")

_SURROGATE = re.compile("[\ud800-\udfff]")
_RAW_TYPES = frozenset({"BOOLEAN", "NUMBER", "STRING", "CSS", "JS"})
_MAX_RULES = 10_000
"""Rules of one flag; each of them may take a visitor's hash."""
_LONG_FLAG = 20_000
_LONG_SEGMENT = 4_000
_ITEMS = 500
"""Flags or segments between two interruptions."""
_RULE_TYPES = {"EXPERIMENTATION": RuleType.EXPERIMENTATION, "TARGETED_DELIVERY": RuleType.TARGETED_DELIVERY}


class DataFile:
    """
    One configuration of one site and environment.

    Args:
        root: The decoded JSON object, its flags and segments as they are or as pieces. It is kept and read later, so it must not
            be changed by anybody.

    Attributes:
        settings: The ``configuration`` object.
        catalogue: The custom data known.
        holdout: The site-wide holdout, if any.
        date_modified: Time of the last change, in milliseconds since 1970; 0 when unknown.
        problems: What of the root itself could not be read.
        flag_keys: Keys of all flags in their order, each once.
        segment_ids: Ids of all segments in their order, each once.
        has_patterns: Whether segments may hold regular expressions.
        long_flags: Keys of flags whose text is so long that they should not be read while somebody waits for an answer.
        long_segments: Ids of such segments; they may hold patterns, which take longer than all else.
        index: What is found among the flags by something else than their key.
    """

    __slots__ = (
        "_flags",
        "_read",
        "_segments",
        "catalogue",
        "date_modified",
        "flag_keys",
        "has_patterns",
        "holdout",
        "index",
        "long_flags",
        "long_segments",
        "problems",
        "segment_ids",
        "settings",
    )

    def __init__(self, root: Mapping[str, Any]) -> None:
        exhaust(self._fill(root))

    @classmethod
    def in_steps(cls, root: Mapping[str, Any]) -> Steps[DataFile]:
        """``DataFile(root)``, in steps."""
        made = cls.__new__(cls)
        yield from made._fill(root)  # noqa: SLF001 - its own
        return made

    def _fill(self, root: Mapping[str, Any]) -> Steps[None]:
        problems: list[Problem] = []
        self.settings = _read_settings(root.get("configuration"), problems)
        self.catalogue = _read_catalogue(root.get("customData"), problems)
        self.holdout = _read_holdout(root, problems)
        self.date_modified = _read_date(root.get("dateModified", 0), problems)
        self._flags = yield from _index(root, "featureFlags", "featureKey", flag_piece, problems)
        self._segments = yield from _index(root, "segments", "id", segment_piece, problems)
        self._read: dict[Hashable, Segment] = {}
        self.index = FlagIndex()
        yield from self.index.fill(self._flags)
        self.flag_keys: tuple[str, ...] = tuple(self._flags)  # type: ignore[arg-type]  # texts in all but broken files
        self.segment_ids = tuple(self._segments)
        self.long_flags: tuple[Any, ...] = tuple(
            key for key, piece in self._flags.items() if _is_long(piece[0], _LONG_FLAG)
        )
        self.has_patterns = any(_has_pattern(piece[0]) for piece in self._segments.values())
        self.long_segments = tuple(key for key, piece in self._segments.items() if _is_long(piece[0], _LONG_SEGMENT))
        self.problems = tuple(problems)

    def flag(self, key: str) -> Flag | None:
        """The flag *key*, or ``None`` when there is none."""
        piece = self._flags.get(key)
        return None if piece is None else _FlagReader(self, key).read(read_piece(piece))

    def experiments(self, key: Hashable) -> Sequence[tuple[Hashable, Hashable]]:
        """``(rule id, experiment id)`` of each rule of the flag *key*, which must be known."""
        experiments = self._flags[key][6]
        return tuple(zip(experiments[::2], experiments[1::2], strict=True))

    def segment(self, segment_id: Hashable) -> Segment | None:
        """The segment *segment_id* of the root or, in the older configuration shape, embedded in a rule."""
        found = self._read.get(segment_id)
        if found is None:
            piece = self._segments.get(segment_id)
            raw = self._embedded_segment(segment_id) if piece is None else read_piece(piece)
            if raw is None:
                return None
            found = self._read.setdefault(segment_id, read_segment(raw, f"segments[{segment_id}]"))
        return found

    def is_shared(self, segment: Segment) -> bool:
        """Whether `segment` gives *segment* for its id; one that a rule holds is that rule's own."""
        return self._read.get(segment.id) is segment

    def _embedded_segment(self, segment_id: Hashable) -> Mapping[str, Any] | None:
        key = self.index.by_segment.get(segment_id)
        if key is None:
            return None
        rules = objects(read_piece(self._flags[key]).get("rules"))
        segments = [rule["segment"] for rule in rules if isinstance(rule.get("segment"), dict)]
        return next((raw for raw in reversed(segments) if raw.get("id") == segment_id), None)


def _is_plain(value: object) -> bool:
    """Whether *value* can be an id, a key or a part of what is hashed."""
    if isinstance(value, str):
        return value.isascii() or not _SURROGATE.search(value)
    return value is None or isinstance(value, (int, float))


def _as_share(value: object) -> float | None:
    """A share as a number that can be added, ``None`` when it is none."""
    if not isinstance(value, (int, float)):
        return None
    try:
        float(value)
    except OverflowError:
        return None
    return value


def _index(
    root: Mapping[str, Any],
    member: str,
    key_field: str,
    make: Callable[[Mapping[str, Any]], P],
    problems: list[Problem],
) -> Steps[dict[Hashable, P]]:
    """``{key: piece}``; of duplicates the last wins and keeps the first one's place."""
    index: dict[Hashable, P] = {}
    items = root.get(member)
    if items is None:
        return index
    if not isinstance(items, list):
        problems.append(Problem(member, f"expected a list, found {_kind(items)}"))
        return index
    for position, item in enumerate(items):
        if isinstance(item, dict):
            piece = make(item)
        elif isinstance(item, tuple):  # JSON has none: it is a piece already
            piece = item
        else:
            problems.append(Problem(f"{member}[{position}]", f"expected an object, found {_kind(item)}"))
            continue
        key = piece[1]
        if is_hashable(key):
            index[key] = piece
        else:
            problems.append(Problem(f"{member}[{position}].{key_field}", f"cannot be {_kind(key)}"))
        if position % _ITEMS == _ITEMS - 1:
            yield
    return index


def _is_long(content: Content, most: int) -> bool:
    return isinstance(content, str) and len(content) > most


def _has_pattern(content: Content) -> bool:
    return isinstance(content, str) and "REGULAR_EXPRESSION" in content


def _kind(value: object) -> str:
    """The JSON name of a value's type, with its article."""
    if value is None:
        return "null"
    names = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), f"a {type(value).__name__}")


def _read_settings(raw: object, problems: list[Problem]) -> Settings:
    if raw is None:
        return Settings()
    if not isinstance(raw, dict):
        problems.append(Problem("configuration", f"expected an object, found {_kind(raw)}"))
        return Settings()
    domain = raw.get("dataApiDomain")
    return Settings(
        real_time=bool(raw.get("realTimeUpdate")),
        consent_required=raw.get("consentType") == "REQUIRED",
        consent_full_block=raw.get("consentOptOutBehavior") == "FULLY_BLOCK",
        data_api_domain=domain if isinstance(domain, str) and domain else None,
    )


def _read_catalogue(raw: object, problems: list[Problem]) -> Catalogue:
    by_index: dict[int, CustomDataEntry] = {}
    index_by_name: dict[str, int] = {}
    index_by_id: dict[int, int] = {}
    mapping_index: int | None = None
    if raw is not None and not isinstance(raw, list):
        problems.append(Problem("customData", f"expected a list, found {_kind(raw)}"))
    for position, item in enumerate(raw if isinstance(raw, list) else ()):
        if not isinstance(item, dict):
            problems.append(Problem(f"customData[{position}]", f"expected an object, found {_kind(item)}"))
            continue
        if item.get("index") is None:
            continue
        try:
            index = int(item["index"])
        except (TypeError, ValueError, OverflowError):
            problems.append(Problem(f"customData[{position}].index", "expected a whole number"))
            continue
        entry_id, name = item.get("id"), item.get("name")
        entry = CustomDataEntry(
            index=index,
            id=entry_id if isinstance(entry_id, int) else None,
            name=name if isinstance(name, str) else None,
            local_only=bool(item.get("localOnly")),
            visitor_scope=item.get("scope") == "VISITOR",
            is_mapping=bool(item.get("isMappingIdentifier")),
        )
        by_index[index] = entry
        if entry.id is not None:
            index_by_id[entry.id] = index
        if entry.name is not None:
            index_by_name[entry.name] = index
        if entry.is_mapping:
            if mapping_index is not None and mapping_index != index:
                problems.append(Problem(f"customData[{position}]", "a second mapping identifier; the last one is used"))
            mapping_index = index
    return Catalogue(by_index, index_by_name, index_by_id, mapping_index)


def _read_holdout(root: Mapping[str, Any], problems: list[Problem]) -> Holdout | None:
    if "holdout" not in root:
        return None
    raw = root["holdout"]
    if not isinstance(raw, dict):
        problems.append(Problem("holdout", f"expected an object, found {_kind(raw)}"))
        return None
    experiment_id = raw.get("experimentId", 0)
    shares = _read_shares(raw, "holdout", problems)
    if not _is_plain(experiment_id):
        problems.append(Problem("holdout.experimentId", f"cannot be {_kind(experiment_id)}"))
        return None
    return Holdout(experiment_id, shares)


def _read_date(raw: object, problems: list[Problem]) -> int:
    try:
        return int(raw)  # type: ignore[call-overload, no-any-return]  # whatever cannot be converted is told below
    except (TypeError, ValueError, OverflowError):
        problems.append(Problem("dateModified", f"expected milliseconds since 1970, found {_kind(raw)}"))
        return 0


def _read_shares(owner: Mapping[str, Any], place: str, problems: list[Problem]) -> tuple[Share, ...]:
    raw = owner.get("variationByExposition", ())
    if not isinstance(raw, (list, tuple)):
        problems.append(Problem(f"{place}.variationByExposition", f"expected a list, found {_kind(raw)}"))
        return ()
    shares = []
    for position, item in enumerate(raw):
        if not isinstance(item, dict):
            here = f"{place}.variationByExposition[{position}]"
            problems.append(Problem(here, f"expected an object, found {_kind(item)}"))
            continue
        exposition = _as_share(item.get("exposition", 0.0))
        variation_id, key = item.get("variationId"), item.get("variationKey", "")
        if exposition is None or not _is_plain(variation_id) or not _is_plain(key):
            here = f"{place}.variationByExposition[{position}]"
            expected = "numbers as exposition and variationId and a text as variationKey"
            problems.append(Problem(here, f"expected {expected}"))
            continue
        shares.append(Share(key, variation_id, exposition))  # plain values are kept as they stand
    return tuple(shares)


class _FlagReader:
    """Reads one flag, collecting what is wrong with it."""

    __slots__ = ("_file", "_place", "_problems")

    def __init__(self, file: DataFile, key: str) -> None:
        self._file = file
        self._place = f"featureFlags[{key}]"
        self._problems: list[Problem] = []

    def read(self, raw: Mapping[str, Any]) -> Flag:
        group = raw.get("mutuallyExclusiveGroup")
        if not _is_plain(group):
            self._problem(f"{self._place}.mutuallyExclusiveGroup", f"cannot be {_kind(group)}")
            group = None
        default_key = raw.get("defaultVariationKey", "")
        if not _is_plain(default_key):
            self._problem(f"{self._place}.defaultVariationKey", f"cannot be {_kind(default_key)}")
            default_key = ""
        bucketing_id = raw.get("bucketingCustomDataId")
        if isinstance(raw.get("rules"), list) and len(raw["rules"]) > _MAX_RULES:
            self._problem(f"{self._place}.rules", f"only the first {_MAX_RULES} count")
        read = (
            self._variation(item, f"{self._place}.variations[{position}]")
            for position, item in self._list(raw, "variations")
        )
        variations = tuple(variation for variation in read if variation is not None)
        listed = islice(self._list(raw, "rules"), _MAX_RULES)
        rules = (self._rule(item, f"{self._place}.rules[{place}]") for place, item in listed)
        return Flag(
            id=raw.get("id", 0),
            key=raw.get("featureKey", ""),
            enabled=raw.get("environmentEnabled", False),
            default_variation_key=default_key,
            variations=variations,
            rules=tuple(rule for rule in rules if rule is not None),
            group=group if isinstance(group, str) and group else None,
            bucketing_id=bucketing_id if isinstance(bucketing_id, int) else None,
            problems=tuple(self._problems),
        )

    def _problem(self, place: str, reason: str) -> None:
        self._problems.append(Problem(place, reason))

    def _list(self, raw: Mapping[str, Any], member: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
        items = raw.get(member, [])
        if not isinstance(items, list):
            self._problem(f"{self._place}.{member}", f"expected a list, found {_kind(items)}")
            return
        for position, item in enumerate(items):
            if isinstance(item, dict):
                yield position, item
            else:
                self._problem(f"{self._place}.{member}[{position}]", f"expected an object, found {_kind(item)}")

    def _variation(self, raw: Mapping[str, Any], place: str) -> Variation | None:
        key, variables = raw.get("key", ""), raw.get("variables")
        if not _is_plain(key):
            self._problem(f"{place}.key", f"cannot be {_kind(key)}")
            return None
        if variables is not None and not isinstance(variables, list):
            self._problem(f"{place}.variables", f"expected a list, found {_kind(variables)}")
        read = (self._variable(item, place) for item in objects(variables))
        return Variation(key, raw.get("name", ""), tuple(variable for variable in read if variable is not None))

    def _variable(self, raw: Mapping[str, Any], place: str) -> Variable | None:
        key, kind, value = raw.get("key", ""), raw.get("type", ""), raw.get("value", False)
        if not _is_plain(key):
            self._problem(f"{place}.variables", f"a key cannot be {_kind(key)}")
            return None
        if isinstance(kind, str) and kind in _RAW_TYPES:
            return Variable(key, kind, value)
        if kind == "JSON" and isinstance(value, str):
            try:
                return Variable(key, kind, json.loads(value))
            except (ValueError, RecursionError) as error:
                self._problem(f"{place}.variables[{key}]", f"not valid JSON: {error}")
        return Variable(key, kind, None)

    def _rule(self, raw: Mapping[str, Any], place: str) -> Rule | None:
        experiment_id, rule_type, respool = raw.get("experimentId", 0), raw.get("type"), raw.get("respoolTime")
        exposition = _as_share(raw.get("exposition", 0.0))
        if "id" not in raw:
            self._problem(place, "has no id")
            return None
        for name, value in (("id", raw["id"]), ("experimentId", experiment_id), ("respoolTime", respool)):
            if not _is_plain(value):
                self._problem(f"{place}.{name}", f"cannot be {_kind(value)}")
                return None
        if exposition is None:
            self._problem(f"{place}.exposition", f"expected a number, found {_kind(raw.get('exposition'))}")
            return None
        segment, is_usable = self._segment(raw, place)
        if not is_usable:
            return None
        return Rule(
            id=raw["id"],
            type=_RULE_TYPES.get(rule_type, RuleType.UNKNOWN) if isinstance(rule_type, str) else RuleType.UNKNOWN,
            exposition=exposition,
            experiment_id=experiment_id,
            respool=str(respool) if respool else "",
            segment=segment,
            shares=_read_shares(raw, place, self._problems),
        )

    def _segment(self, raw: Mapping[str, Any], place: str) -> tuple[Segment | None, bool]:
        """The rule's segment, ``None`` for everybody, and whether it could be told at all."""
        segment_id, embedded = raw.get("segmentId"), raw.get("segment")
        segment = None
        if segment_id:
            if not _is_plain(segment_id):
                self._problem(f"{place}.segmentId", f"cannot be {_kind(segment_id)}")
                return None, False
            segment = self._file.segment(segment_id)
        elif embedded:
            if not isinstance(embedded, dict):
                self._problem(f"{place}.segment", f"expected an object, found {_kind(embedded)}")
                return None, False
            segment = read_segment(embedded, f"{place}.segment")
        if segment is not None and segment.problem is not None:
            self._problems.append(segment.problem)
        return segment, True


def read_segment(raw: Mapping[str, Any], place: str) -> Segment:
    """
    One segment; a tree that cannot be read makes it match nobody.

    Args:
        raw: The segment's JSON object.
        place: Where it stands, for the problem's text.
    """
    data = raw.get("conditionsData")
    segment_id, audience = raw.get("id", -1), bool(raw.get("audienceTracking"))
    try:
        return Segment(segment_id, audience, None if data is None else _read_tree(data))
    except _UnreadableError as error:
        return Segment(segment_id, audience, None, Problem(f"{place}.conditionsData", str(error)))


class _UnreadableError(Exception):
    """Why a tree cannot be read."""


def _read_tree(raw: object) -> Tree:
    if not isinstance(raw, dict):
        raise _UnreadableError(f"expected an object, found {_kind(raw)}")
    if "firstLevel" not in raw:
        raise _UnreadableError("has no firstLevel")
    first_level = raw["firstLevel"]
    if first_level is None:
        return Tree((), ())
    if not isinstance(first_level, list):
        raise _UnreadableError(f"firstLevel: expected a list, found {_kind(first_level)}")
    groups = tuple(_read_group(group, position) for position, group in enumerate(first_level))
    operators = raw.get("firstLevelOrOperators")
    if len(groups) > 1 and not isinstance(operators, list):
        raise _UnreadableError(f"firstLevelOrOperators: expected a list, found {_kind(operators)}")
    return Tree(groups, _read_operators(operators))


def _read_group(raw: object, position: int) -> Group:
    if raw is None:
        return Group((), ())
    if not isinstance(raw, dict) or "conditions" not in raw:
        raise _UnreadableError(f"firstLevel[{position}] has no conditions")
    conditions = raw["conditions"]
    if not conditions:
        return Group((), ())
    if not isinstance(conditions, list):
        raise _UnreadableError(f"firstLevel[{position}].conditions: expected a list, found {_kind(conditions)}")
    operators = raw.get("orOperators")
    if len(conditions) > 1 and (not isinstance(operators, list) or len(operators) < len(conditions) - 1):
        raise _UnreadableError(f"firstLevel[{position}].orOperators: too few for {len(conditions)} conditions")
    for place, condition in enumerate(conditions):
        if not isinstance(condition, dict):
            raise _UnreadableError(
                f"firstLevel[{position}].conditions[{place}]: expected an object, found {_kind(condition)}"
            )
    return Group(tuple(read_condition(condition) for condition in conditions), _read_operators(operators))


def _read_operators(raw: object) -> tuple[bool, ...]:
    return tuple(bool(operator) for operator in raw) if isinstance(raw, list) else ()


def read_condition(raw: Mapping[str, Any]) -> Condition:
    """One condition from its JSON object; its fields are read when it is compiled."""
    kind = raw.get("targetingType")
    return Condition(kind if isinstance(kind, str) else None, raw.get("isInclude", True) is not False, raw)
