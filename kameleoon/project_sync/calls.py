"""The calls that carry out a plan. Each is a function of the API and the ids that earlier calls found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kameleoon.api.custom_data import CustomDatum
from kameleoon.api.feature_flags import (
    EnvironmentConfiguration,
    FeatureFlag,
)
from kameleoon.api.segments import Segment
from kameleoon.project_sync.wanted import (
    REFERENCES,
    UNKNOWN,
    Ids,
    conditions_of,
    environment_of,
    variables_of,
    variations_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kameleoon.api.automation import AutomationApi
    from kameleoon.server import project as model


class Blocked(Exception):
    """A call cannot be made, because something that it needs is not there."""


def create(resource: str, entity: Any, kind: str, number: int) -> Callable[[AutomationApi, Ids], None]:
    """Make an entity, and remember its id."""

    def run(api: AutomationApi, ids: Ids) -> None:
        ids[kind, number] = getattr(api, resource).create(entity).id

    return run


def create_custom_data(
    site_id: int | None, datum: model.CustomDatum, wanted: Mapping[str, Any]
) -> Callable[[AutomationApi, Ids], None]:
    """Make custom data at the index that the file gives; another index of the service is no use."""

    def run(api: AutomationApi, ids: Ids) -> None:
        made = api.custom_data.create(CustomDatum(site_id=site_id, index=datum.index, method="SDK", **wanted))
        ids["custom data", datum.id] = made.id
        if made.index is not None and made.index != datum.index:
            raise Blocked(
                f"the service gave custom data {datum.name} the index {made.index}, not {datum.index}; write that into the file"
            )

    return run


def update(resource: str, number: int | None, changes: Mapping[str, Any]) -> Callable[[AutomationApi, Ids], None]:
    """Change an entity."""

    def run(api: AutomationApi, _ids: Ids) -> None:
        getattr(api, resource).update(number, **changes)

    return run


def remove(resource: str, number: int | None) -> Callable[[AutomationApi, Ids], None]:
    """Delete an entity."""

    def run(api: AutomationApi, _ids: Ids) -> None:
        getattr(api, resource).delete(number)

    return run


def archive(flag: FeatureFlag) -> Callable[[AutomationApi, Ids], None]:
    """Archive a flag."""

    def run(api: AutomationApi, _ids: Ids) -> None:
        api.feature_flags.archive(str(flag.site_code), str(flag.feature_key))

    return run


def _resolved(segment: model.Segment, ids: Ids) -> dict[str, Any]:
    tree = conditions_of(segment, ids)
    for group in tree["firstLevel"]:
        for condition in group["conditions"]:
            if missing := [name for name, value in condition.items() if value is UNKNOWN]:
                raise Blocked(
                    f"segment {segment.key} refers to a {REFERENCES[missing[0]]} that is not on the service yet; "
                    "apply the file once without that condition"
                )
    return tree


def create_segment(site_id: int | None, name: str, segment: model.Segment) -> Callable[[AutomationApi, Ids], None]:
    """Make a segment, its references as ids of the service."""

    def run(api: AutomationApi, ids: Ids) -> None:
        made = api.segments.create(
            Segment(
                name=name,
                site_id=site_id,
                segment_type="STANDARD",
                conditions_data=_resolved(segment, ids),
                audience_tracking=segment.audience_tracking,
            )
        )
        ids["segment", segment.id] = made.id

    return run


def replace_segment(known: Segment, segment: model.Segment) -> Callable[[AutomationApi, Ids], None]:
    """Replace a segment as a whole, as its conditions cannot be changed otherwise."""

    def run(api: AutomationApi, ids: Ids) -> None:
        whole = replace(
            known,
            name=segment.name or known.name,
            conditions_data=_resolved(segment, ids),
            audience_tracking=segment.audience_tracking,
        )
        assert known.id is not None, "it was read from the service"
        api.segments.replace(known.id, whole)

    return run


def _bucketing_key(bucketing: int | None, ids: Ids) -> dict[str, Any]:
    if bucketing is None:
        # A change is merged into what is there, so what no longer holds has to be taken away by name.
        return {"bucketingKeyType": "VISITOR_CODE", "customDataId": None}
    return {"bucketingKeyType": "CUSTOM_DATA", "customDataId": ids["custom data", bucketing]}


def create_flag(
    project: model.Project, flag: model.Flag, bucketing: int | None
) -> Callable[[AutomationApi, Ids], None]:
    """Make a flag, switched off everywhere and without rules."""

    def run(api: AutomationApi, ids: Ids) -> None:
        empty = FeatureFlag()
        made = api.feature_flags.create(
            FeatureFlag(
                site_code=project.site_code,
                feature_key=flag.key,
                name=flag.name or flag.key,
                variables=variables_of(flag, ()) or (),
                variations=variations_of(flag, empty),
                bucketing_key=None if bucketing is None else _bucketing_key(bucketing, ids),
                environment_configurations=tuple(
                    EnvironmentConfiguration(
                        environment_key=environment,
                        default_variation_key=flag.default_in(environment),
                        feature_enabled=False,
                        rollout_rules=(),
                    )
                    for environment in project.environments
                ),
            )
        )
        ids["flag", flag.id] = made.id

    return run


def update_flag(site_code: str, key: str, changes: Mapping[str, Any]) -> Callable[[AutomationApi, Ids], None]:
    """Change what a flag has in all environments."""

    def run(api: AutomationApi, ids: Ids) -> None:
        sent = dict(changes)
        if "bucketing_key" in sent:
            sent["bucketing_key"] = _bucketing_key(sent["bucketing_key"], ids)
        api.feature_flags.update(site_code, key, **sent)

    return run


def drop_variations(site_code: str, key: str, kept: frozenset[str]) -> Callable[[AutomationApi, Ids], None]:
    """Take variations away that the file does not have."""

    def run(api: AutomationApi, _ids: Ids) -> None:
        now = api.feature_flags.get(site_code, key)
        api.feature_flags.update(site_code, key, variations=tuple(v for v in now.variations or () if v.key in kept))

    return run


def put_environment(
    project: model.Project, flag: model.Flag, environment: str, keep: bool
) -> Callable[[AutomationApi, Ids], None]:
    """Change a flag in one environment."""

    def run(api: AutomationApi, ids: Ids) -> None:
        def edit(now: EnvironmentConfiguration) -> EnvironmentConfiguration:
            # Compared with what is there at this moment, so that a change made meanwhile is not undone unseen.
            after = environment_of(project, flag, environment, now, ids, keep=keep)
            if any(str(rule.segment_id) == UNKNOWN for rule in after.rollout_rules or ()):
                raise Blocked(f"a segment of flag {flag.key} in {environment} is not on the service")
            return after

        try:
            api.feature_flags.edit_environment(project.site_code, flag.key, environment, edit)
        except KeyError:
            raise Blocked(f"flag {flag.key} has no environment {environment} on the service") from None

    return run
