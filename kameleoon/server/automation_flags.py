"""
The Automation API's bodies as changes of flags. No I/O.

Source:
    automation-api.md, sections 7.2, 7.3 and 11.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kameleoon.server.api_words import variable_value
from kameleoon.server.automation_fields import Entity, FieldError, checked, free_key, listed, text, truth
from kameleoon.server.automation_out import variable_json
from kameleoon.server.automation_rules import copied_rules, with_rules
from kameleoon.server.edits import edit_flag, find_flag
from kameleoon.server.project import (
    Flag,
    Own,
    Variable,
    VariableType,
    Variation,
    derive_id,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kameleoon.server.project import Project


def add_flag(project: Project, body: Entity) -> Project:
    """A new flag; environments that the body leaves out are off and without rules."""
    key = text(body, "featureKey", longest=255)
    if any(flag.key == key for flag in project.flags):
        raise FieldError("featureKey", f"there is a flag {key!r} already")
    name = text(body, "name", longest=100)
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
    added = checked(lambda: replace(project, flags=(*project.flags, flag)))
    return patch_flag(added, key, {name: body[name] for name in ("environmentConfigurations",) if name in body})


def duplicate_flag(project: Project, key: str, body: Entity) -> Project:
    """
    A copy of a flag, off everywhere; its rules have ids of their own.

    Args:
        project: The present one.
        key: Of the flag.
        body: May have another ``featureKey`` and ``name``.
    """
    flag = find_flag(project, key)
    keys = [other.key for other in project.flags]
    wanted = text(body, "featureKey", "", longest=255)
    if wanted in keys:
        raise FieldError("featureKey", f"there is a flag {wanted!r} already")
    copy_key = wanted or free_key(f"{key}_copy", keys)

    def own(environment: str, its: Own) -> Own:
        return its if its.rules is None else replace(its, rules=copied_rules(copy_key, environment, its.rules))

    copy = replace(
        flag,
        key=copy_key,
        id=derive_id("flag", copy_key),
        name=text(body, "name", "", longest=100) or (f"{flag.name} (copy)" if flag.name else ""),
        enabled_in=frozenset(),
        rules=copied_rules(copy_key, None, flag.rules),
        own=MappingProxyType({environment: own(environment, its) for environment, its in flag.own.items()}),
    )
    return checked(lambda: replace(project, flags=(*project.flags, copy)))


def patch_flag(project: Project, key: str, body: Entity) -> Project:
    """A JSON Merge Patch of a flag; arrays are replaced as a whole."""

    def edit(flag: Flag) -> Flag:
        return replace(
            flag,
            name=text(body, "name", flag.name, longest=100),
            variations=_variations(body, flag.variations) or flag.variations,
            bucket_by=_bucketing(project, body, flag.bucket_by),
        )

    project = edit_flag(project, key, edit)
    for configuration in listed(body, "environmentConfigurations"):
        project = patch_environment(project, key, text(configuration, "environmentKey"), configuration)
    return project


def patch_environment(project: Project, key: str, environment: str, body: Entity) -> Project:
    """Change a flag in one environment: its state, default and rules."""
    if environment not in project.environments:
        raise FieldError("environmentKey", f"there is no environment {environment!r}")
    flag = find_flag(project, key)
    is_on = truth(body, "featureEnabled", environment in flag.enabled_in)
    others = flag.enabled_in - {environment}
    flag = replace(flag, enabled_in=others | {environment} if is_on else others)
    if "defaultVariationKey" in body:
        default = text(body, "defaultVariationKey")
        if default not in {variation.key for variation in flag.variations}:
            raise FieldError("defaultVariationKey", f"the flag has no variation {default!r}")
        if default != flag.default_in(environment):
            own = replace(flag.own.get(environment, Own()), default_variation=default)
            flag = replace(flag, own=MappingProxyType({**flag.own, environment: own}))
    if "rolloutRules" in body:
        flag = with_rules(project, flag, environment, listed(body, "rolloutRules"))
    changed = flag
    return edit_flag(project, key, lambda _: changed)


def remove_flag(project: Project, key: str) -> Project:
    """Without a flag."""
    gone = find_flag(project, key)
    for segment in project.segments:
        if any(c.fields.get("featureFlagId") == gone.id for g in segment.groups for c in g.conditions):
            raise FieldError("featureKey", f"segment {segment.key!r} refers to the flag")
    return replace(project, flags=tuple(flag for flag in project.flags if flag is not gone))


def _variations(body: Entity, known: Sequence[Variation]) -> tuple[Variation, ...]:
    if "variations" not in body and "variables" not in body:
        return ()
    types: dict[str, VariableType] = {key: v.type for variation in known for key, v in variation.variables.items()}
    defaults: dict[str, Any] = {}
    for variable in listed(body, "variables"):
        key = text(variable, "key")
        try:
            types[key] = VariableType(text(variable, "type"))
        except ValueError as error:
            raise FieldError("variables", f"{variable.get('type')!r} is no type") from error
        if "value" in variable:
            defaults[key] = variable["value"]
    built: list[Variation] = []
    given = listed(body, "variations") if "variations" in body else [_bare(variation) for variation in known]
    for variation in given:
        values = defaults | {text(one, "key"): one.get("value") for one in listed(variation, "variables")}
        typed = {key: _typed(key, types.get(key, VariableType.STRING), value) for key, value in values.items()}
        built.append(
            Variation(text(variation, "key", longest=255), text(variation, "name", ""), MappingProxyType(typed))
        )
    return tuple(built)


def _typed(key: str, kind: VariableType, value: object) -> Variable:
    try:
        return Variable(key, kind, variable_value(kind, value))
    except ValueError as error:
        raise FieldError("variables", f"the value of {key!r} is no {kind.value}") from error


def _bare(variation: Variation) -> Entity:
    variables = [variable_json(variable) for variable in variation.variables.values()]
    return {"key": variation.key, "name": variation.name, "variables": variables}


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
