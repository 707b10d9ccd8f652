"""
The targeting conditions: each type's compiler turns its fields into a test that only compares.

A compiler raises `Unreadable` for fields it cannot use; the condition then counts as not matching and is told as a problem.

Source:
    Condition types, fields and results without data as recorded in ``tests/vectors/targeting_conditions.json``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from kameleoon._engine.matching import (
    match_number,
    match_text,
    midnight_ms,
    read_browser_version,
    read_version,
    text,
    threshold_ms,
    version_operator,
)
from kameleoon._engine.patterns import Unreadable
from kameleoon._engine.shown import shown
from kameleoon._engine.tree import Test, always, negate, never
from kameleoon.data import BrowserType, DeviceType, OperatingSystemType
from kameleoon.sdk_version import SdkVersion

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from kameleoon._datafile.model import Condition
    from kameleoon._visitor.record import PageVisit, VisitorRecord

NO_EXPERIMENT = object()
"""Stands for the experiment where a segment is tested on its own."""

_EQUAL_WITHIN = 1e-9

_MAX_DIGITS = 18
"""Digits of a custom data index; what has more is no index of anything."""


ValueTest = Callable[[Any, "Site"], Callable[[Any], bool]]
"""``(the condition's value, site) -> test of one value of the visitor's``."""


class Site(Protocol):
    """What conditions may ask of the rest of the configuration."""

    def pattern(self, source: str) -> Callable[[str], bool]:
        """A test of a whole text by a regular expression; `Unreadable` when it is none."""

    def segment_test(self, segment_id: Hashable) -> Test | None:
        """The test of a segment, ``None`` when there is no such segment."""

    def flag_experiments(self, flag_id: Hashable) -> Sequence[tuple[Hashable, Hashable]]:
        """``(rule id, experiment id)`` of each rule of the flag with the id *flag_id*."""

    def variation_key(self, variation_id: Hashable) -> Any:
        """Key of the variation with the id *variation_id* in any rule."""


def compile_condition(condition: Condition, site: Site, on_problem: Callable[[str], None]) -> Test:
    """
    One condition as a test, include or exclude applied.

    Args:
        condition: The condition.
        site: Where references to segments and flags are looked up.
        on_problem: Told, in a sentence, why the condition is out of service.
    """
    compiler = _COMPILERS.get(condition.type or "")
    if compiler is None:
        on_problem(f"unknown targetingType {shown(condition.type)}")
        test: Test = never
    else:
        try:
            test = compiler(condition.fields, site)
        except Unreadable as error:
            on_problem(f"{condition.type}: {error}")
            test = never
        except Exception as error:  # fields of types nobody thought of; this condition alone is out of service
            on_problem(f"{condition.type}: cannot be read: {type(error).__name__}")
            test = never
    if condition.include:
        return test
    return always if test is never else negate(test)


# --- custom data ------------------------------------------------------------------------------------------------------


def _custom_datum(fields: Mapping[str, Any], site: Site) -> Test:
    name = text(fields, "customDataIndex")
    index = int(name) if name.isdecimal() and len(name) <= _MAX_DIGITS else -1
    kind = fields.get("valueMatchType")
    if kind == "UNDEFINED":

        def undefined(record: VisitorRecord | None, _code: str, _now_ms: int, _experiment_id: object) -> bool:
            return record is not None and index not in record.custom_data

        return undefined
    some = _VALUE_TESTS.get(kind) if isinstance(kind, str) else None
    if some is None:
        raise Unreadable(f"valueMatchType: expected one of {', '.join(_VALUE_TESTS)}, UNDEFINED, found {shown(kind)}")
    matches = some(fields.get("value"), site)

    def custom_datum(record: VisitorRecord | None, _code: str, _now_ms: int, _experiment_id: object) -> bool:
        if record is None:
            return False
        datum = record.custom_data.get(index)
        if datum is None:
            return False
        try:
            for value in datum.values:
                if matches(value):
                    return True
        except Exception:
            return False  # a value that cannot be compared ends the search, as the service has it
        return False

    return custom_datum


def _value_text(kind: str) -> ValueTest:
    def compile_value(wanted: Any, site: Site) -> Callable[[Any], bool]:
        if not isinstance(wanted, str):
            if kind == "EXACT" and wanted is not None:
                return lambda value: bool(value == wanted)
            raise Unreadable(f"value: expected a text, found {shown(wanted)}")
        if kind == "EXACT":
            return lambda value: bool(value == wanted)  # values need not be texts
        return match_text(kind, wanted, site.pattern)

    return compile_value


def _value_number(kind: str) -> ValueTest:
    def compile_value(wanted: Any, _site: Site) -> Callable[[Any], bool]:
        try:
            number = float(wanted)
        except (TypeError, ValueError, OverflowError):
            raise Unreadable(f"value: expected a number, found {shown(wanted)}") from None
        if kind == "EQUAL":
            return lambda value: abs(float(value) - number) < _EQUAL_WITHIN
        if kind == "GREATER":
            return lambda value: float(value) > number
        return lambda value: float(value) < number

    return compile_value


def _value_boolean(wanted: str) -> ValueTest:
    return lambda *_: lambda value: bool(value == wanted)


def _value_among(wanted: Any, _site: Site) -> Callable[[Any], bool]:
    try:
        decoded = json.loads(wanted)
        # As dictionary keys 1 and True are one, so the service reads the number 1 as "true", and 0 as "false".
        words = {True: "true", False: "false"}
        among = frozenset(words.get(item, item if isinstance(item, str) else str(item)) for item in decoded)
    except (TypeError, ValueError, RecursionError):
        raise Unreadable(f"value: expected a JSON list, found {shown(wanted)}") from None
    return lambda value: value in among


_VALUE_TESTS: dict[str, ValueTest] = {
    "EXACT": _value_text("EXACT"),
    "CONTAINS": _value_text("CONTAINS"),
    "REGULAR_EXPRESSION": _value_text("REGULAR_EXPRESSION"),
    "EQUAL": _value_number("EQUAL"),
    "GREATER": _value_number("GREATER"),
    "LOWER": _value_number("LOWER"),
    "TRUE": _value_boolean("true"),
    "FALSE": _value_boolean("false"),
    "AMONG_VALUES": _value_among,
}


# --- the visitor's equipment and place --------------------------------------------------------------------------------


def _browser(fields: Mapping[str, Any], _site: Site) -> Test:
    name = text(fields, "browser")
    wanted = BrowserType.__members__.get("INTERNET_EXPLORER" if name == "IE" else name)
    if wanted is None:
        raise Unreadable(f"browser: expected one of {', '.join(BrowserType.__members__)}, found {shown(name)}")
    if fields.get("version") is None:

        def of_type(record: VisitorRecord | None, _code: str, _now_ms: int, _experiment_id: object) -> bool:
            return record is not None and record.browser is not None and record.browser.browser_type == wanted

        return of_type
    version = read_browser_version(fields["version"])
    if version is None:
        raise Unreadable(f"version: expected numbers with dots, found {shown(fields['version'])}")
    compare = version_operator(fields.get("versionMatchType"))

    def of_version(record: VisitorRecord | None, _code: str, _now_ms: int, _experiment_id: object) -> bool:
        if record is None or record.browser is None or record.browser.browser_type != wanted:
            return False
        return compare(record.browser.version or -1, version)

    return of_version


def _device_type(fields: Mapping[str, Any], _site: Site) -> Test:
    wanted = DeviceType.__members__.get(text(fields, "device").upper())
    if wanted is None:
        raise Unreadable(
            f"device: expected one of {', '.join(DeviceType.__members__)}, found {shown(fields['device'])}"
        )

    def device_type(record: VisitorRecord | None, _code: str, _now_ms: int, _experiment_id: object) -> bool:
        return record is not None and record.device is not None and record.device.device_type == wanted

    return device_type


def _operating_system(fields: Mapping[str, Any], _site: Site) -> Test:
    wanted = OperatingSystemType.__members__.get(text(fields, "os"))
    if wanted is None:
        raise Unreadable(
            f"os: expected one of {', '.join(OperatingSystemType.__members__)}, found {shown(fields['os'])}"
        )

    def operating_system(record: VisitorRecord | None, _code: str, _now_ms: int, _experiment_id: object) -> bool:
        return record is not None and record.operating_system is not None and record.operating_system.os_type == wanted

    return operating_system


def _geolocation(fields: Mapping[str, Any], _site: Site) -> Test:
    text(fields, "country")
    wanted = [
        (name, text(fields, name).lower()) for name in ("country", "region", "city") if fields.get(name) is not None
    ]

    def geolocation(record: VisitorRecord | None, _code: str, _now_ms: int, _experiment_id: object) -> bool:
        if record is None or record.geolocation is None:
            return False
        for name, value in wanted:
            known = getattr(record.geolocation, name)
            if not isinstance(known, str) or known.lower() != value:
                return False
        return True

    return geolocation


def _cookie(fields: Mapping[str, Any], site: Site) -> Test:
    name = str(fields.get("name"))
    name_kind = fields.get("nameMatchType")
    value_matches = match_text(fields.get("valueMatchType"), str(fields.get("value")), site.pattern)
    name_matches = match_text(name_kind, name, site.pattern)

    def cookie(record: VisitorRecord | None, _code: str, _now_ms: int, _experiment_id: object) -> bool:
        if record is None or record.cookie is None:
            return False
        cookies = record.cookie.cookies
        if name_kind == "EXACT":
            return name in cookies and value_matches(cookies[name])
        return any(value_matches(value) for key, value in cookies.items() if name_matches(key))

    return cookie


# --- versions ---------------------------------------------------------------------------------------------------------


def _wanted_version(fields: Mapping[str, Any]) -> tuple[Callable[[Any, Any], bool], tuple[int, int, int]]:
    wanted = read_version(fields.get("version"))
    if wanted is None:
        raise Unreadable(f"version: expected numbers with dots, found {shown(fields.get('version'))}")
    return version_operator(fields.get("versionMatchType")), wanted


def _application_version(fields: Mapping[str, Any], _site: Site) -> Test:
    compare, wanted = _wanted_version(fields)

    def application_version(record: VisitorRecord | None, _code: str, _now_ms: int, _experiment_id: object) -> bool:
        if record is None or record.application_version is None:
            return False
        version = read_version(record.application_version.version)
        return version is not None and compare(version, wanted)

    return application_version


def _sdk_language(fields: Mapping[str, Any], _site: Site) -> Test:
    if fields.get("sdkLanguage") != SdkVersion.NAME:
        return never
    if fields.get("version") is None:
        return always
    compare, wanted = _wanted_version(fields)
    return always if compare(read_version(SdkVersion.VERSION), wanted) else never


# --- pages ------------------------------------------------------------------------------------------------------------


def _visited(record: VisitorRecord) -> list[PageVisit]:
    """The record's pages, copied at once so that another thread may go on adding some."""
    return list(record.page_views.values())


def _last_seen(visit: PageVisit) -> int:
    return visit.last_ms


def _page_url(fields: Mapping[str, Any], site: Site) -> Test:
    matches = match_text(fields.get("matchType"), text(fields, "url"), site.pattern)

    def page_url(record: VisitorRecord | None, _code: str, _now_ms: int, _experiment_id: object) -> bool:
        if record is None or not record.page_views:
            return False
        return matches(max(_visited(record), key=_last_seen).view.url)

    return page_url


def _page_title(fields: Mapping[str, Any], site: Site) -> Test:
    matches = match_text(fields.get("matchType"), text(fields, "title"), site.pattern)

    def page_title(record: VisitorRecord | None, _code: str, _now_ms: int, _experiment_id: object) -> bool:
        if record is None or not record.page_views:
            return False
        title = max(_visited(record), key=_last_seen).view.title
        return title is not None and matches(title)

    return page_title


def _previous_page(fields: Mapping[str, Any], site: Site) -> Test:
    matches = match_text(fields.get("matchType"), text(fields, "url"), site.pattern)

    def previous_page(record: VisitorRecord | None, _code: str, _now_ms: int, _experiment_id: object) -> bool:
        if record is None or len(record.page_views) < 2:
            return False
        return matches(sorted(_visited(record), key=_last_seen, reverse=True)[1].view.url)

    return previous_page


def _page_views(fields: Mapping[str, Any], _site: Site) -> Test:
    matches = match_number(fields.get("matchType"), fields.get("pageCount"))

    def page_views(record: VisitorRecord | None, _code: str, _now_ms: int, _experiment_id: object) -> bool:
        return record is not None and matches(sum(visit.views for visit in _visited(record)))

    return page_views


# --- who the visitor is -----------------------------------------------------------------------------------------------


def _visitor_code(fields: Mapping[str, Any], site: Site) -> Test:
    matches = match_text(fields.get("matchType"), text(fields, "visitorCode"), site.pattern)

    def visitor_code(_record: VisitorRecord | None, code: str, _now_ms: int, _experiment_id: object) -> bool:
        return matches(code)

    return visitor_code


def _segment(fields: Mapping[str, Any], site: Site) -> Test:
    segment_id = fields.get("segmentId")
    if isinstance(segment_id, (dict, list)):
        raise Unreadable(f"segmentId: expected a number, found {shown(segment_id)}")
    test = site.segment_test(segment_id)
    if test is None:
        raise Unreadable(f"there is no segment {shown(segment_id)}, or it contains itself or too much")
    return test


# --- visits -----------------------------------------------------------------------------------------------------------


def _previous_starts(record: VisitorRecord | None) -> list[int]:
    if record is None or record.visits is None:
        return []
    return [visit.started_ms for visit in record.visits.previous]


def _visits(fields: Mapping[str, Any], _site: Site) -> Test:
    matches = match_number(fields.get("matchType"), fields.get("visitCount"))

    def visits(record: VisitorRecord | None, _code: str, _now_ms: int, _experiment_id: object) -> bool:
        return matches(len(_previous_starts(record)) + 1)

    return visits


def _same_day_visits(fields: Mapping[str, Any], _site: Site) -> Test:
    matches = match_number(fields.get("matchType"), fields.get("visitCount"))

    def same_day_visits(record: VisitorRecord | None, _code: str, now_ms: int, _experiment_id: object) -> bool:
        midnight = midnight_ms(now_ms)
        count = 1 if (now_ms if record is None else record.started_ms) >= midnight else 0
        for started_ms in _previous_starts(record):
            if started_ms < midnight:
                break
            count += 1
        return matches(count)

    return same_day_visits


def _new_visitors(fields: Mapping[str, Any], _site: Site) -> Test:
    kind = text(fields, "visitorType").upper()
    if kind not in {"NEW", "RETURNING"}:
        raise Unreadable(f"visitorType: expected NEW or RETURNING, found {shown(kind)}")
    returning = kind == "RETURNING"

    def new_visitors(record: VisitorRecord | None, _code: str, _now_ms: int, _experiment_id: object) -> bool:
        return bool(_previous_starts(record)) is returning

    return new_visitors


def _visit_age(position: int) -> Callable[[Mapping[str, Any], Site], Test]:
    """Compiler for the time since one of the previous visits began: 0 is the latest, -1 the first."""

    def compile_age(fields: Mapping[str, Any], _site: Site) -> Test:
        matches = match_number(fields.get("matchType"), fields.get("countInMillis"))

        def visit_age(record: VisitorRecord | None, _code: str, now_ms: int, _experiment_id: object) -> bool:
            starts = _previous_starts(record)
            return bool(starts) and matches(now_ms - starts[position])

        return visit_age

    return compile_age


# --- what the visitor did and was given -------------------------------------------------------------------------------


def _conversions(fields: Mapping[str, Any], _site: Site) -> Test:
    goal_id = fields.get("goalId", -1)
    since = threshold_ms(fields, "VISITOR")

    def conversions(record: VisitorRecord | None, _code: str, _now_ms: int, _experiment_id: object) -> bool:
        if record is None or goal_id is None:
            return False
        from_ms = since(record)
        return any(
            time_ms >= from_ms and goal_id in (-1, conversion.goal_id)
            for conversion, time_ms in list(record.conversions)
        )

    return conversions


def _target_feature_flag(fields: Mapping[str, Any], site: Site) -> Test:
    flag_id, rule_id, key = fields.get("featureFlagId"), fields.get("ruleId"), fields.get("variationKey")
    if isinstance(flag_id, (dict, list)):
        raise Unreadable(f"featureFlagId: expected a number, found {shown(flag_id)}")
    experiments = [
        experiment for rule, experiment in site.flag_experiments(flag_id) if rule_id is None or rule == rule_id
    ]
    since = threshold_ms(fields, "CURRENT_VISIT")

    def target_feature_flag(record: VisitorRecord | None, _code: str, _now_ms: int, _experiment_id: object) -> bool:
        if record is None:
            return False
        from_ms = since(record)
        for experiment in experiments:
            assignment = record.assignments.get(experiment)  # type: ignore[call-overload]  # looked up as it stands
            if assignment is None or assignment.time_ms < from_ms:
                continue
            if key is None or site.variation_key(assignment.variation_id) == key:
                return True
        return False

    return target_feature_flag


def _target_experiment(fields: Mapping[str, Any], _site: Site) -> Test:
    experiment_id, kind = fields.get("experimentId"), fields.get("variationMatchType")
    if isinstance(experiment_id, (dict, list)):
        raise Unreadable(f"experimentId: expected a number, found {shown(experiment_id)}")
    if kind not in ("ANY", "EXACT"):
        raise Unreadable(f"variationMatchType: expected ANY or EXACT, found {shown(kind)}")
    variation_id = fields.get("variationId")
    since = threshold_ms(fields, "CURRENT_VISIT")

    def target_experiment(record: VisitorRecord | None, _code: str, _now_ms: int, _experiment_id: object) -> bool:
        assignment = None if record is None else record.assignments.get(experiment_id)  # type: ignore[arg-type]
        if record is None or assignment is None or assignment.time_ms < since(record):
            return False
        return kind == "ANY" or assignment.variation_id == variation_id

    return target_experiment


def _target_personalization(fields: Mapping[str, Any], _site: Site) -> Test:
    personalization_id = fields.get("personalizationId")
    if isinstance(personalization_id, (dict, list)):
        raise Unreadable(f"personalizationId: expected a number, found {shown(personalization_id)}")
    since = threshold_ms(fields, "CURRENT_VISIT")

    def target_personalization(record: VisitorRecord | None, _code: str, _now_ms: int, _experiment_id: object) -> bool:
        if record is None:
            return False
        found = record.personalizations.get(personalization_id)  # type: ignore[arg-type]  # looked up as it stands
        return found is not None and found.time_ms >= since(record)

    return target_personalization


def _exclusive_experiment(fields: Mapping[str, Any], _site: Site) -> Test:
    kind = fields.get("campaignType")
    if kind not in ("EXPERIMENT", "PERSONALIZATION", "ANY"):
        raise Unreadable(f"campaignType: expected EXPERIMENT, PERSONALIZATION or ANY, found {shown(kind)}")
    since = threshold_ms(fields, "VISITOR")

    def exclusive_experiment(record: VisitorRecord | None, _code: str, _now_ms: int, experiment_id: object) -> bool:
        if experiment_id is NO_EXPERIMENT:
            return False
        if record is None:
            return True
        from_ms = since(record)
        if kind != "PERSONALIZATION" and any(
            assignment.experiment_id != experiment_id and assignment.time_ms >= from_ms
            for assignment in list(record.assignments.values())
        ):
            return False
        return kind == "EXPERIMENT" or not any(
            shown.time_ms >= from_ms for shown in list(record.personalizations.values())
        )

    return exclusive_experiment


def _heat_slice(fields: Mapping[str, Any], _site: Site) -> Test:
    moment, goal = fields.get("keyMomentId"), fields.get("goalId")
    lower, upper = fields.get("lowerBound"), fields.get("upperBound")
    numbers: Iterable[object] = (lower, upper)
    if not (isinstance(moment, int) and isinstance(goal, int) and all(isinstance(n, (int, float)) for n in numbers)):
        raise Unreadable("expected whole numbers as keyMomentId and goalId and numbers as bounds")

    def heat_slice(record: VisitorRecord | None, _code: str, _now_ms: int, _experiment_id: object) -> bool:
        if record is None or record.heat is None:
            return False
        score = record.heat.get(moment, {}).get(goal)
        return score is not None and lower <= score <= upper  # type: ignore[operator]  # checked above

    return heat_slice


_COMPILERS: dict[str, Callable[[Mapping[str, Any], Site], Test]] = {
    "CUSTOM_DATUM": _custom_datum,
    "BROWSER": _browser,
    "DEVICE_TYPE": _device_type,
    "OPERATING_SYSTEM": _operating_system,
    "GEOLOCATION": _geolocation,
    "COOKIE": _cookie,
    "APPLICATION_VERSION": _application_version,
    "PAGE_URL": _page_url,
    "PAGE_TITLE": _page_title,
    "PREVIOUS_PAGE": _previous_page,
    "PAGE_VIEWS": _page_views,
    "VISITOR_CODE": _visitor_code,
    "SDK_LANGUAGE": _sdk_language,
    "CONVERSIONS": _conversions,
    "VISITS": _visits,
    "SAME_DAY_VISITS": _same_day_visits,
    "NEW_VISITORS": _new_visitors,
    "FIRST_VISIT": _visit_age(-1),
    "LAST_VISIT": _visit_age(0),
    "HEAT_SLICE": _heat_slice,
    "SEGMENT": _segment,
    "TARGET_FEATURE_FLAG": _target_feature_flag,
    "TARGET_EXPERIMENT": _target_experiment,
    "TARGET_PERSONALIZATION": _target_personalization,
    "EXCLUSIVE_EXPERIMENT": _exclusive_experiment,
}
