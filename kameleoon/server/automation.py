"""
The Automation API's entities: a project as its JSON, and its JSON as changes of a project. No I/O.

Source:
    automation-api.md, sections 7, 9 and 11.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kameleoon.server.edits import EditError, edit_flag, find_flag
from kameleoon.server.project import (
    Condition,
    CustomDatum,
    Flag,
    Goal,
    Group,
    Joined,
    Own,
    Rule,
    RuleType,
    Segment,
    Share,
    Variable,
    VariableType,
    Variation,
    derive_id,
    rule_names,
)
from kameleoon.server.project_file import free_rule_key
from kameleoon.server.results import reference_share

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kameleoon.server.project import Project
    from kameleoon.server.results import RuleResult

Entity = dict[str, Any]

FLAG_FIELDS = ("id", "featureKey", "name", "siteCode", "archived")
NAMED_FIELDS = (
    "id",
    "name",
    "siteId",
    "siteCode",
    "index",
    "type",
    "status",
    "experimentId",
    "segmentType",
    "scope",
    "code",
)

_TYPES = {"EXPERIMENTATION": RuleType.EXPERIMENT, "TARGETED_DELIVERY": RuleType.DELIVERY}
_SCOPES = ("PAGE", "VISIT", "VISITOR")


class FieldError(EditError):
    """
    A field is missing or makes no sense.

    Attributes:
        field: Its name.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


def site_id(project: Project) -> int:
    """The id of the one site that a server has."""
    return derive_id("site", project.site_code)


# --- as JSON ----------------------------------------------------------------------------------------------------------


def site_json(project: Project) -> Entity:
    """The site."""
    return {
        "id": site_id(project),
        "code": project.site_code,
        "name": project.name or project.site_code,
        "type": "SITE_SDK",
        "realTimeUpdate": project.streaming,
        "consentType": "REQUIRED" if project.consent.required else "NOT_REQUIRED",
        "consentOptOutBehavior": "FULLY_BLOCK" if project.consent.refusal_blocks_all else "PARTIALLY_BLOCK",
    }


def flag_json(project: Project, flag: Flag) -> Entity:
    """One flag, with every environment."""
    data_ids = {datum.name: datum.id for datum in project.custom_data}
    bucketing: Entity = {"bucketingKeyType": "VISITOR_CODE"}
    if flag.bucket_by is not None:
        bucketing = {"bucketingKeyType": "CUSTOM_DATA", "customDataId": data_ids[flag.bucket_by]}
    default = next(v for v in flag.variations if v.key == flag.default_variation)
    known = {key: variable for v in (*flag.variations, default) for key, variable in v.variables.items()}
    return {
        "id": flag.id,
        "featureKey": flag.key,
        "name": flag.name or flag.key,
        "siteCode": project.site_code,
        "archived": False,
        "bucketingKey": bucketing,
        "variables": [_variable_json(variable) for variable in known.values()],
        "variations": [
            {
                "key": variation.key,
                "name": variation.name or variation.key,
                "variables": [_variable_json(variable) for variable in variation.variables.values()],
            }
            for variation in flag.variations
        ],
        "environmentConfigurations": [
            {
                "environmentKey": environment,
                "defaultVariationKey": flag.default_in(environment),
                "featureEnabled": environment in flag.enabled_in,
                "rolloutRules": [
                    _rule_json(project, flag, rule, order) for order, rule in enumerate(flag.rules_in(environment))
                ],
                "integrations": {"deliveryRules": [], "experimentRules": []},
            }
            for environment in project.environments
        ],
    }


def _variable_json(variable: Variable) -> Entity:
    value = variable.value
    text = (
        value
        if isinstance(value, str) and variable.type is not VariableType.JSON
        else json.dumps(value, ensure_ascii=False)
    )
    return {"key": variable.key, "type": variable.type.value, "value": text}


def _rule_json(project: Project, flag: Flag, rule: Rule, order: int) -> Entity:
    segments = {segment.key: segment.id for segment in project.segments}
    built: Entity = {
        "id": rule.id,
        "type": "EXPERIMENTATION" if rule.type is RuleType.EXPERIMENT else "TARGETED_DELIVERY",
        "name": rule.key,
        "orderIndex": order,
        "status": "PAUSED" if rule.is_paused else "ACTIVE",
        "segmentId": segments[rule.segment_key] if rule.segment_key is not None else None,
        "exposition": _percent(rule.exposition),
        "experimentId": rule.experiment_id,
    }
    if rule.type is RuleType.DELIVERY:
        return built | {"variationKey": rule.shares[0].variation_key}
    return built | {
        "controlVariationKey": reference_share(flag, rule).variation_key,
        "trafficAllocations": [
            {"variationKey": s.variation_key, "variationId": s.variation_id, "exposition": _percent(s.share)}
            for s in rule.shares
        ],
    }


def goal_json(project: Project, goal: Goal) -> Entity:
    """One goal."""
    name = goal.name or goal.key
    return {
        "id": goal.id,
        "name": name,
        "siteId": site_id(project),
        "type": "CUSTOM",
        "status": "ACTIVE",
        "key": goal.key,
    }


def custom_datum_json(project: Project, datum: CustomDatum) -> Entity:
    """One custom data."""
    return {
        "id": datum.id,
        "name": datum.name,
        "siteId": site_id(project),
        "index": datum.index,
        "method": "SDK",
        "scope": datum.scope,
        "isLocalOnly": datum.local_only,
        "isMappingIdentifier": datum.mapping_identifier,
    }


def segment_json(project: Project, segment: Segment) -> Entity:
    """One segment with its conditions."""
    return {
        "id": segment.id,
        "name": segment.name or segment.key,
        "siteId": site_id(project),
        "segmentType": "STANDARD",
        "audienceTracking": segment.audience_tracking,
        "conditionsData": {
            "firstLevelOrOperators": [segment.joined is Joined.ANY] * (len(segment.groups) - 1),
            "firstLevel": [
                {
                    "orOperators": [group.joined is Joined.ANY] * (len(group.conditions) - 1),
                    "conditions": [
                        {"targetingType": c.targeting_type, "weight": 1, "include": c.include, **c.fields}
                        for c in group.conditions
                    ],
                }
                for group in segment.groups
            ],
        },
        "key": segment.key,
    }


def experiments_json(project: Project) -> Iterator[Entity]:
    """The experiments of the flags' rules; environments that share a rule share its experiment."""
    for flag, rule in _experiments(project):
        yield {
            "id": rule.experiment_id,
            "name": f"{flag.name or flag.key}: {rule.key}",
            "siteId": site_id(project),
            "siteCode": project.site_code,
            "type": "FEATURE_FLAG",
            "status": "PAUSED" if rule.is_paused else "ACTIVE",
            "variations": [share.variation_id for share in rule.shares],
            "deviations": {str(share.variation_id): share.share for share in rule.shares},
            "featureFlagId": flag.id,
        }


def variations_json(project: Project) -> Iterator[Entity]:
    """The variations of these experiments."""
    for _, rule in _experiments(project):
        for share in rule.shares:
            yield {
                "id": share.variation_id,
                "name": share.variation_key,
                "siteId": site_id(project),
                "experimentId": rule.experiment_id,
            }


def _experiments(project: Project) -> Iterator[tuple[Flag, Rule]]:
    for flag in project.flags:
        for _, rule in flag.all_rules():
            if rule.type is RuleType.EXPERIMENT:
                yield flag, rule


def results_json(rules: Sequence[RuleResult], wanted: Mapping[str, Any]) -> Entity:
    """
    Results as ``GET /results`` gives them.

    This server counts visitors and not visits: where the service tells of visits, visitors stand.

    Args:
        rules: Whose variations are told.
        wanted: The body of the request: ``conversionType``, ``goalsIds``, ``referenceVariationId``.
    """
    goals = wanted.get("goalsIds")
    by_visitors = wanted.get("conversionType") == "CONVERTED_VISITS"
    data: Entity = {}
    for rule in rules:
        named = str(wanted.get("referenceVariationId") or "")
        reference = next(
            (v for v in rule.variations if str(v.id) == named), next(v for v in rule.variations if v.is_reference)
        )
        for variation in rule.variations:
            told: Entity = {}
            for goal in variation.goals:
                if isinstance(goals, list) and goals and goal.id not in goals:
                    continue
                base = reference.goal(goal.key)
                rates = [
                    (one.converted if by_visitors else one.conversions) / visitors if visitors else 0.0
                    for one, visitors in ((goal, variation.visitors), (base, reference.visitors))
                ]
                told[str(goal.id)] = {
                    "conversionCount": goal.conversions,
                    "convertedVisitCount": goal.converted,
                    "revenueCount": goal.revenue_total,
                    "averageCart": goal.revenue_total / goal.conversions if goal.conversions else 0.0,
                    "conversionRate": rates[0],
                    "improvementRate": rates[0] / rates[1] - 1 if rates[1] else None,
                    "reliability": 1 - goal.p_value if goal.p_value is not None else 0.0,
                }
            general = {"visitCount": variation.visitors, "visitorCount": variation.visitors, "goalsData": told}
            data[str(variation.id)] = {"breakdownData": {"_reference": {"generalData": general}}}
    return {"status": "READY", "data": {"variationData": data}}


def _percent(share: float) -> float | int:
    value = round(share * 100, 10)
    return int(value) if value == int(value) else value


# --- as changes -------------------------------------------------------------------------------------------------------


def patch_site(project: Project, body: Entity) -> Project:
    """Change what a site has here."""
    consent = project.consent
    if "consentType" in body:
        consent = replace(consent, required=body["consentType"] == "REQUIRED")
    if "consentOptOutBehavior" in body:
        consent = replace(consent, refusal_blocks_all=body["consentOptOutBehavior"] == "FULLY_BLOCK")
    streaming = _truth(body, "realTimeUpdate", project.streaming)
    return replace(project, name=_text(body, "name", project.name), streaming=streaming, consent=consent)


def add_flag(project: Project, body: Entity) -> Project:
    """A new flag; environments that the body leaves out are off and without rules."""
    key = _text(body, "featureKey", longest=255)
    _check_site(project, body)
    if any(flag.key == key for flag in project.flags):
        raise FieldError("featureKey", f"there is a flag {key!r} already")
    name = _text(body, "name", longest=100)
    variations = _variations(body, ()) or (Variation("off"), Variation("on"))
    keys = [variation.key for variation in variations]
    flag = Flag(
        key=key,
        id=derive_id("flag", key),
        name=name,
        default_variation="off" if "off" in keys else keys[0],
        variations=variations,
        bucket_by=_bucketing(project, body, None),
        own=MappingProxyType({environment: Own(None, ()) for environment in project.environments}),
    )
    added = _built(lambda: replace(project, flags=(*project.flags, flag)))
    return patch_flag(added, key, {name: body[name] for name in ("environmentConfigurations",) if name in body})


def patch_flag(project: Project, key: str, body: Entity) -> Project:
    """A JSON Merge Patch of a flag; arrays are replaced as a whole."""
    if body.get("isArchived"):
        return remove_flag(project, key)

    def edit(flag: Flag) -> Flag:
        return replace(
            flag,
            name=_text(body, "name", flag.name, longest=100),
            variations=_variations(body, flag.variations) or flag.variations,
            bucket_by=_bucketing(project, body, flag.bucket_by),
        )

    project = edit_flag(project, key, edit)
    for configuration in _list(body, "environmentConfigurations"):
        project = patch_environment(project, key, _text(configuration, "environmentKey"), configuration)
    return project


def patch_environment(project: Project, key: str, environment: str, body: Entity) -> Project:
    """Change a flag in one environment: its state, default and rules."""
    if environment not in project.environments:
        raise FieldError("environmentKey", f"there is no environment {environment!r}")
    flag = find_flag(project, key)
    is_on = _truth(body, "featureEnabled", environment in flag.enabled_in)
    others = flag.enabled_in - {environment}
    flag = replace(flag, enabled_in=others | {environment} if is_on else others)
    if "defaultVariationKey" in body:
        default = _text(body, "defaultVariationKey")
        if default not in {variation.key for variation in flag.variations}:
            raise FieldError("defaultVariationKey", f"the flag has no variation {default!r}")
        if default != flag.default_in(environment):
            own = replace(flag.own.get(environment, Own()), default_variation=default)
            flag = replace(flag, own=MappingProxyType({**flag.own, environment: own}))
    if "rolloutRules" in body:
        flag = _with_rules(project, flag, environment, _list(body, "rolloutRules"))
    changed = flag
    return edit_flag(project, key, lambda _: changed)


def patch_rule(project: Project, rule_id: int, body: Entity) -> Project:
    """Change one rule; the body is the rule, or a flag that has it among its rules."""
    for configuration in _list(body, "environmentConfigurations"):
        for rule in _list(configuration, "rolloutRules"):
            if rule.get("id") == rule_id:
                return patch_rule(project, rule_id, rule)
    for flag in project.flags:
        for place, rules in flag.rule_lists():
            if rule_id in [rule.id for rule in rules]:
                edited = tuple(
                    _rule(project, flag, place, body, rule, []) if rule.id == rule_id else rule for rule in rules
                )
                return _replace_rules(project, flag, place, edited)
    raise EditError(f"there is no rule {rule_id}")


def remove_flag(project: Project, key: str) -> Project:
    """Without a flag."""
    gone = find_flag(project, key)
    for segment in project.segments:
        if any(c.fields.get("featureFlagId") == gone.id for g in segment.groups for c in g.conditions):
            raise FieldError("featureKey", f"segment {segment.key!r} refers to the flag")
    return replace(project, flags=tuple(flag for flag in project.flags if flag is not gone))


def put_goal(project: Project, body: Entity, goal_id: int | None) -> Project:
    """A new goal, or with an id a changed one."""
    name = _text(body, "name", None if goal_id is None else "", longest=255)
    if goal_id is None:
        key = _free_key(name, [goal.key for goal in project.goals] + ["any"])
        return _built(lambda: replace(project, goals=(*project.goals, Goal(key, derive_id("goal", key), name))))
    goals = tuple(replace(goal, name=name or goal.name) if goal.id == goal_id else goal for goal in project.goals)
    return replace(project, goals=goals)


def remove_goal(project: Project, goal_id: int) -> Project:
    """Without a goal, unless a segment asks for it."""
    _check_unused(project, "goalId", goal_id, "goal")
    return replace(project, goals=tuple(goal for goal in project.goals if goal.id != goal_id))


def put_custom_datum(project: Project, body: Entity, datum_id: int | None) -> Project:
    """New custom data at the lowest free index, or changed ones; their name and index stay."""
    known = next((datum for datum in project.custom_data if datum.id == datum_id), None)
    if known is None:
        name = _text(body, "name", longest=255)
        index = body.get("index")
        taken = {datum.index for datum in project.custom_data}
        if index is None:
            index = next(number for number in range(len(taken) + 1) if number not in taken)
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index <= 10_000 or index in taken:
            raise FieldError("index", "taken, or no whole number from 0 to 10000")
        known = CustomDatum(name, index, derive_id("custom data", name))
    scope = _text(body, "scope", known.scope)
    if scope not in _SCOPES:
        raise FieldError("scope", f"expected one of {', '.join(_SCOPES)}")
    datum = replace(
        known,
        scope=scope,
        local_only=_truth(body, "isLocalOnly", known.local_only),
        mapping_identifier=_truth(body, "isMappingIdentifier", known.mapping_identifier),
    )
    if datum.mapping_identifier and any(d.mapping_identifier for d in project.custom_data if d.id != datum.id):
        raise FieldError("isMappingIdentifier", "another custom data is the mapping identifier")
    if datum_id is None:
        return _built(lambda: replace(project, custom_data=(*project.custom_data, datum)))
    return replace(project, custom_data=tuple(datum if d.id == datum_id else d for d in project.custom_data))


def remove_custom_datum(project: Project, datum_id: int) -> Project:
    """Without custom data, unless a segment or a flag uses them."""
    gone = next(datum for datum in project.custom_data if datum.id == datum_id)
    _check_unused(project, "customDataIndex", str(gone.index), "custom data")
    if any(flag.bucket_by == gone.name for flag in project.flags):
        raise FieldError("id", "a flag draws by the custom data")
    return replace(project, custom_data=tuple(datum for datum in project.custom_data if datum is not gone))


def put_segment(project: Project, body: Entity, segment_id: int | None) -> Project:
    """A new segment, or with an id a changed one."""
    known = next((segment for segment in project.segments if segment.id == segment_id), None)
    if known is None:
        name = _text(body, "name", longest=255)
        key = _free_key(name, [segment.key for segment in project.segments])
        joined, groups = _tree(project, body.get("conditionsData"))
        known = Segment(key, derive_id("segment", key), joined, groups, name)
    elif "conditionsData" in body:
        joined, groups = _tree(project, body["conditionsData"])
        known = replace(known, joined=joined, groups=groups)
    segment = replace(
        known,
        name=_text(body, "name", known.name, longest=255),
        audience_tracking=_truth(body, "audienceTracking", known.audience_tracking),
    )
    if segment_id is None:
        return _built(lambda: replace(project, segments=(*project.segments, segment)))
    return replace(project, segments=tuple(segment if s.id == segment_id else s for s in project.segments))


def remove_segment(project: Project, segment_id: int) -> Project:
    """Without a segment, unless a rule or another segment uses it."""
    gone = next(segment for segment in project.segments if segment.id == segment_id)
    _check_unused(project, "segmentId", segment_id, "segment")
    if any(rule.segment_key == gone.key for flag in project.flags for _, rule in flag.all_rules()):
        raise FieldError("id", "a rule is for the segment")
    return replace(project, segments=tuple(segment for segment in project.segments if segment is not gone))


# --- parts ------------------------------------------------------------------------------------------------------------


def _with_rules(project: Project, flag: Flag, environment: str, given: Iterable[Entity]) -> Flag:
    """
    A flag whose rules in *environment* are those given.

    Rules that environments share are told apart first, so that a change of one leaves the others alone: the project's default environment
    keeps the ids and so its visitors' variations, the others get rules with ids of their own.
    """
    shared = [name for name in project.environments if name not in flag.own or flag.own[name].rules is None]
    place: str | None = environment
    kept = {rule.id: rule for rule in flag.rules_in(environment)}
    if environment in shared:
        keeper = project.default_environment if project.default_environment in shared else shared[0]
        for name in shared:
            if name != keeper and environment in {keeper, name}:
                copies = tuple(_copied(flag.key, name, rule) for rule in flag.rules)
                own = replace(flag.own.get(name, Own()), rules=copies)
                flag = replace(flag, own=MappingProxyType({**flag.own, name: own}))
                if name == environment:
                    kept = {rule.id: copy for rule, copy in zip(flag.rules, copies, strict=True)}
        if keeper == environment:
            place = None
    ordered = sorted(enumerate(given), key=lambda pair: (_order_index(pair[1], pair[0]), pair[0]))
    rules: list[Rule] = []
    for _, body in ordered:
        known = kept.get(body.get("id", 0)) if isinstance(body.get("id"), int) else None
        rules.append(_rule(project, flag, place, body, known, [rule.key for rule in rules]))
    return _placed(flag, place, tuple(rules))


def _copied(flag: str, environment: str, rule: Rule) -> Rule:
    names = rule_names(flag, environment, rule.key)
    return replace(
        rule,
        id=derive_id(*names),
        experiment_id=derive_id(*names, "experiment"),
        shares=tuple(
            replace(share, variation_id=derive_id(*names, "variation", share.variation_key)) for share in rule.shares
        ),
    )


def _placed(flag: Flag, place: str | None, rules: tuple[Rule, ...]) -> Flag:
    try:
        if place is None:
            return replace(flag, rules=rules)
        own = replace(flag.own.get(place, Own()), rules=rules)
        return replace(flag, own=MappingProxyType({**flag.own, place: own}))
    except ValueError as error:
        raise FieldError("rolloutRules", str(error)) from error


def _replace_rules(project: Project, flag: Flag, place: str | None, rules: tuple[Rule, ...]) -> Project:
    changed = _placed(flag, place, rules)
    return edit_flag(project, flag.key, lambda _: changed)


def _order_index(body: Entity, default: int) -> float:
    index = body.get("orderIndex")
    return index if isinstance(index, int | float) else default


def _rule(
    project: Project, flag: Flag, place: str | None, body: Entity, known: Rule | None, earlier: list[str]
) -> Rule:
    kind = known.type if known is not None else None
    if "type" in body or kind is None:
        kind = _TYPES.get(_text(body, "type"))
    if kind is None:
        raise FieldError("type", f"expected one of {', '.join(_TYPES)}")
    shares = _shares(flag, body, kind, known)
    segment = known.segment_key if known is not None else None
    if "segmentId" in body:
        wanted = body["segmentId"]
        segments = {one.id: one.key for one in project.segments}
        if wanted is not None and wanted not in segments:
            raise FieldError("segmentId", f"there is no segment {wanted!r}")
        segment = segments[wanted] if wanted is not None else None
    key = known.key if known is not None else _text(body, "name", "", longest=100)
    if not key or (known is None and key in earlier):
        key = free_rule_key(kind, shares, segment, earlier) if not key else _free_key(key, earlier)
    names = rule_names(flag.key, place, key)
    ids = {share.variation_key: share.variation_id for share in known.shares} if known is not None else {}
    exposition = body.get("exposition", _percent(known.exposition) if known is not None else 100)
    state = body.get("state", body.get("status", "PAUSED" if known is not None and known.is_paused else "ACTIVE"))
    respool_time = known.respool_time if known is not None else None
    if body.get("reallocation") is True:
        # Any other number draws anew; counting up needs no clock and never repeats one.
        respool_time = (respool_time or 0) + 1
    try:
        return Rule(
            key=key,
            type=kind,
            id=known.id if known is not None else derive_id(*names),
            experiment_id=known.experiment_id if known is not None else derive_id(*names, "experiment"),
            shares=tuple(
                Share(variation, ids.get(variation, derive_id(*names, "variation", variation)), share)
                for variation, share in shares.items()
            ),
            segment_key=segment,
            exposition=_part(exposition, "exposition"),
            respool_time=respool_time,
            is_paused=state == "PAUSED",
        )
    except FieldError:
        raise
    except ValueError as error:
        raise FieldError("rolloutRules", str(error)) from error


def _shares(flag: Flag, body: Entity, kind: RuleType, known: Rule | None) -> dict[str, float]:
    if kind is RuleType.DELIVERY:
        default = known.shares[0].variation_key if known is not None else None
        shares = {_text(body, "variationKey", default): 1.0}
    elif "trafficAllocations" in body or known is None:
        given = _list(body, "trafficAllocations")
        shares = {_text(one, "variationKey"): _part(one.get("exposition"), "trafficAllocations") for one in given}
        total = math.fsum(shares.values())
        if len(shares) != len(given) or abs(total - 1) > 1e-4:
            raise FieldError("trafficAllocations", f"each variation once, together 100 %, not {total * 100:g} %")
        # What people round to two decimals still has to sum to 1 exactly: the last takes the rest.
        last = list(shares)[-1]
        shares[last] = round(shares[last] + 1 - total, 12)
    else:
        shares = {share.variation_key: share.share for share in known.shares}
    if unknown := shares.keys() - {variation.key for variation in flag.variations}:
        raise FieldError("variationKey", f"the flag has no variation {', '.join(sorted(unknown))}")
    return shares


def _part(value: object, field: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 100:
        raise FieldError(field, "expected a number from 0 to 100")
    return round(value / 100, 12)


def _variations(body: Entity, known: Sequence[Variation]) -> tuple[Variation, ...]:
    if "variations" not in body and "variables" not in body:
        return ()
    types: dict[str, VariableType] = {key: v.type for variation in known for key, v in variation.variables.items()}
    defaults: dict[str, Any] = {}
    for variable in _list(body, "variables"):
        key = _text(variable, "key")
        try:
            types[key] = VariableType(_text(variable, "type"))
        except ValueError as error:
            raise FieldError("variables", f"{variable.get('type')!r} is no type") from error
        if "value" in variable:
            defaults[key] = variable["value"]
    built: list[Variation] = []
    given = _list(body, "variations") if "variations" in body else [_bare(variation) for variation in known]
    for variation in given:
        values = defaults | {_text(one, "key"): one.get("value") for one in _list(variation, "variables")}
        variables = {key: Variable(key, types.get(key, VariableType.STRING), value) for key, value in values.items()}
        typed = {key: replace(v, value=_typed(v)) for key, v in variables.items()}
        built.append(
            Variation(_text(variation, "key", longest=255), _text(variation, "name", ""), MappingProxyType(typed))
        )
    return tuple(built)


def _bare(variation: Variation) -> Entity:
    variables = [_variable_json(variable) for variable in variation.variables.values()]
    return {"key": variation.key, "name": variation.name, "variables": variables}


def _typed(variable: Variable) -> Any:
    """The value of a variable that came as text."""
    value = variable.value
    try:
        match variable.type:
            case VariableType.BOOLEAN:
                value = {"true": True, "false": False}[str(value).lower()]
            case VariableType.NUMBER:
                value = json.loads(str(value))
                if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
                    raise FieldError("variables", f"{variable.key!r} is no number")
            case VariableType.JSON if isinstance(value, str):
                value = json.loads(value, parse_constant=float)
                json.dumps(value, allow_nan=False)
            case VariableType.JSON:
                pass
            case _:
                value = str(value)
    except (KeyError, ValueError, RecursionError) as error:
        raise FieldError("variables", f"the value of {variable.key!r} is no {variable.type.value}") from error
    return value


def _bucketing(project: Project, body: Entity, known: str | None) -> str | None:
    given = body.get("bucketingKey")
    if not isinstance(given, dict):
        return known
    if given.get("bucketingKeyType") != "CUSTOM_DATA":
        return None
    for datum in project.custom_data:
        if datum.id == given.get("customDataId"):
            return datum.name
    raise FieldError("bucketingKey", f"there is no custom data {given.get('customDataId')!r}")


def _tree(project: Project, given: object) -> tuple[Joined, tuple[Group, ...]]:
    if not isinstance(given, dict):
        raise FieldError("conditionsData", "required")
    groups: list[Group] = []
    for group in _list(given, "firstLevel"):
        conditions = tuple(_condition(project, condition) for condition in _list(group, "conditions"))
        if not conditions:
            raise FieldError("conditionsData", "a group needs a condition")
        groups.append(Group(_joined(group, "orOperators", len(conditions)), conditions))
    if not groups:
        raise FieldError("conditionsData", "a segment needs a condition")
    return _joined(given, "firstLevelOrOperators", len(groups)), tuple(groups)


def _joined(given: Entity, name: str, members: int) -> Joined:
    operators = [bool(operator) for operator in given.get(name) or []][: members - 1]
    if len(set(operators)) > 1:
        raise FieldError(name, "this server knows only AND throughout or OR throughout on one level")
    return Joined.ANY if operators and operators[0] else Joined.ALL


def _condition(project: Project, given: Entity) -> Condition:
    kind = _text(given, "targetingType")
    fields = {
        name: value
        for name, value in given.items()
        if name not in {"targetingType", "include", "isInclude", "weight", "id", "htmlDescription"}
    }
    known: dict[str, set[Any]] = {
        "goalId": {goal.id for goal in project.goals},
        "segmentId": {segment.id for segment in project.segments},
        "customDataIndex": {str(datum.index) for datum in project.custom_data},
        "featureFlagId": {flag.id for flag in project.flags},
    }
    for name, ids in known.items():
        if fields.get(name) is not None and fields[name] not in ids:
            raise FieldError(name, f"there is no {fields[name]!r} in this site")
    include = given.get("include", given.get("isInclude", True))
    return Condition(kind, fields, include=include is not False)


def _check_unused(project: Project, field: str, value: object, what: str) -> None:
    for segment in project.segments:
        for group in segment.groups:
            if any(condition.fields.get(field) == value for condition in group.conditions):
                raise FieldError("id", f"segment {segment.key!r} uses the {what}")


def _check_site(project: Project, body: Entity) -> None:
    if _text(body, "siteCode") != project.site_code:
        raise FieldError("siteCode", f"this server has the site {project.site_code!r} alone")


def _text(body: Entity, field: str, default: str | None = None, *, longest: int = 1000) -> str:
    value = body.get(field, default)
    if value is None:
        raise FieldError(field, "required")
    if not isinstance(value, str) or len(value) > longest or (not value and default is None):
        raise FieldError(field, f"expected text of 1 to {longest} characters")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise FieldError(field, "no text") from error
    return value


def _truth(body: Entity, field: str, default: bool) -> bool:
    value = body.get(field, default)
    if not isinstance(value, bool):
        raise FieldError(field, "expected true or false")
    return value


def _list(body: Entity, field: str) -> list[Entity]:
    value = body.get(field) or []
    if not isinstance(value, list) or not all(isinstance(member, dict) for member in value):
        raise FieldError(field, "expected an array of objects")
    return value


def _free_key(name: str, taken: Sequence[str]) -> str:
    base = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "unnamed"
    return next(key for key in (base, *(f"{base}_{n}" for n in range(2, len(taken) + 3))) if key not in taken)


def _built(build: Any) -> Project:
    try:
        built: Project = build()
    except ValueError as error:
        raise EditError(str(error)) from error
    return built
