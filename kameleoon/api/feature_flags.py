"""
Feature flags with their variations, variables, environments and rules.

Source:
    docs/automation-api.md, "Feature flags".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from kameleoon.api.model import Entity, Json, changes_to_json
from kameleoon.api.resources import Creating, Listing, Searching, segment
from kameleoon.api.twins import AsyncSide, BlockingSide, call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kameleoon._transport.flow import Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagVariable(Entity):
    """
    A variable of a flag or its value in a variation.

    Attributes:
        type: ``BOOLEAN``, ``NUMBER``, ``STRING``, ``JSON``, ``JS``, ``CSS``.
        value: Always text.
    """

    key: str | None = None
    type: str | None = None
    value: str | None = None
    allowed_values: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagVariation(Entity):
    """One form of a flag."""

    key: str | None = None
    name: str | None = None
    variables: tuple[FlagVariable, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation(Entity):
    """
    A variation's part of an experiment rule.

    Attributes:
        variation_id: Given by the service; tracking carries it.
        exposition: Percent; the parts of a rule sum to 100 (unit and sum are assumed).
    """

    variation_key: str | None = None
    variation_id: int | None = None
    exposition: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Without the id, which the service gives."""
        written = Entity.to_json(self)
        written.pop("variationId", None)
        return written


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRule(Entity):
    """
    One rule of a flag in one environment.

    Attributes:
        id: Given by the service. Send it to keep a rule; one without it is made anew, and its visitors are drawn anew.
        type: ``TARGETED_DELIVERY``, ``PROGRESSIVE_DELIVERY`` or ``EXPERIMENTATION``.
        order_index: Rules are tried in this order.
        state: ``ACTIVE`` or ``PAUSED``, as it is written; `status` is how it is read.
        segment_id: Whom it is for; ``None`` is everybody.
        exposition: Percent of those visitors, 0 to 100 (unit inferred).
        variation_key: What a delivery rule gives.
        control_variation_key: The reference of an experiment.
        reallocation: True draws all visitors anew with this change.
        experiment_id: Under which exposures are tracked; given by the service.
    """

    id: int | None = None
    type: str | None = None
    name: str | None = None
    order_index: int | None = None
    state: str | None = None
    status: str | None = None
    segment_id: int | None = None
    exposition: float | None = None
    variation_key: str | None = None
    control_variation_key: str | None = None
    traffic_allocations: tuple[Allocation, ...] | None = None
    traffic_allocation_method: str | None = None
    reallocation: bool | None = None
    experiment_id: int | None = None
    release: Json | None = None
    current_exposition: float | None = None
    rollback_conditions: tuple[Json, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """As a request has it: the state under its name there, nothing that only the service writes."""
        written = Entity.to_json(self)
        status = written.pop("status", None)
        if "state" not in written and status is not None:
            written["state"] = status
        for name in ("experimentId", "currentExposition"):
            written.pop(name, None)
        return written


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentConfiguration(Entity):
    """
    A flag in one environment.

    Attributes:
        integrations: ``{deliveryRules: […], experimentRules: […]}``, sent back untouched.
    """

    environment_key: str | None = None
    default_variation_key: str | None = None
    feature_enabled: bool | None = None
    rollout_rules: tuple[RolloutRule, ...] | None = None
    integrations: Json | None = None
    date_modified: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Without the date, which the service writes."""
        written = Entity.to_json(self)
        written.pop("dateModified", None)
        return written


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureFlag(Entity):
    """
    A flag.

    Attributes:
        attribution_window: In ms.
        bucketing_key: ``{bucketingKeyType: VISITOR_CODE}`` or ``{bucketingKeyType: CUSTOM_DATA, customDataId: …}``.
        environment_configurations: One for each environment.
        tags: Comes only when asked for with ``optional_fields``.
        health: ``PERMANENT``, ``HEALTHY``, ``STALE``, ``SMELLY``.
    """

    id: int | None = None
    feature_key: str | None = None
    name: str | None = None
    site_code: str | None = None
    description: str | None = None
    archived: bool | None = None
    is_archived: bool | None = None
    attribution_window: int | None = None
    bucketing_key: Json | None = None
    variables: tuple[FlagVariable, ...] | None = None
    variations: tuple[FlagVariation, ...] | None = None
    environment_configurations: tuple[EnvironmentConfiguration, ...] | None = None
    primary_goal_id: int | None = None
    secondary_goal_ids: tuple[int, ...] | None = None
    tags: tuple[str, ...] | None = None
    health: str | None = None
    team_id: int | None = None
    date_created: str | None = None
    date_modified: str | None = None

    def environment(self, key: str) -> EnvironmentConfiguration | None:
        """The flag in the environment *key*, or ``None``."""
        return next((one for one in self.environment_configurations or () if one.environment_key == key), None)


class FeatureFlagCalls(Listing[FeatureFlag], Searching[FeatureFlag], Creating[FeatureFlag]):
    """Calls on flags. A flag is named by the site's code and its own key."""

    _path = "/feature-flags"
    _entity = FeatureFlag
    _required = ("feature_key", "name", "site_code")
    _read_only: ClassVar[frozenset[str]] = frozenset(
        {"id", "archived", "health", "createdById", "dateCreated", "dateModified", "dateContentModified"}
    )

    @call
    def get(self, site_code: str, feature_key: str, *, optional_fields: Iterable[str] = ()) -> Flow[FeatureFlag]:
        """
        One flag.

        Raises:
            NotFound: There is none.
            ApiError: The call failed otherwise.
        """
        pairs = [("optionalFields", ",".join(optional_fields))]
        return (yield from self._one("GET", _place(site_code, feature_key), pairs=pairs))

    @call
    def update(self, site_code: str, feature_key: str, /, **changes: Any) -> Flow[FeatureFlag]:
        """
        Change some fields, named in snake case. ``None`` takes a value away; a list is replaced as a whole.

        Raises:
            TypeError: There is no such field.
            ApiError: The call failed.
        """
        # The service wants the key in the body of every change.
        body = {"featureKey": feature_key, **changes_to_json(FeatureFlag, changes)}
        return (yield from self._one("PATCH", _place(site_code, feature_key), body))

    @call
    def edit_environment(
        self,
        site_code: str,
        feature_key: str,
        environment_key: str,
        edit: Callable[[EnvironmentConfiguration], EnvironmentConfiguration],
    ) -> Flow[FeatureFlag]:
        """
        Read a flag, change it in one environment and send that environment back whole, rules with their ids, so that rules which are not
        changed keep their visitors.

        Args:
            site_code: The site.
            feature_key: The flag.
            environment_key: The environment.
            edit: Given the environment as it is, gives it as it should be; use `dataclasses.replace`.

        Raises:
            KeyError: The flag has no such environment.
            ApiError: A call failed. Nothing guards against somebody else's change between the two.
        """
        flag = yield from self._one("GET", _place(site_code, feature_key))
        before = flag.environment(environment_key)
        if before is None:
            raise KeyError(environment_key)
        return (yield from self._put_environment(site_code, flag, environment_key, edit(before)))

    @call
    def replace_environment(
        self, site_code: str, flag: FeatureFlag, environment_key: str, configuration: EnvironmentConfiguration
    ) -> Flow[FeatureFlag]:
        """
        Send *flag* in one environment as a whole. Rules without an id are made anew.

        Raises:
            ApiError: The call failed.
        """
        return (yield from self._put_environment(site_code, flag, environment_key, configuration))

    @call
    def update_rule(self, feature_key: str, environment_key: str, rule_id: int, /, **changes: Any) -> Flow[FeatureFlag]:
        """
        Change some fields of one rule, named in snake case. The shape of the request is known from other clients only.

        Raises:
            TypeError: A rule has no such field.
            ApiError: The call failed.
        """
        rule = {"id": rule_id, **changes_to_json(RolloutRule, changes)}
        body = {
            "featureKey": feature_key,
            "environmentConfigurations": [{"environmentKey": environment_key, "rolloutRules": [rule]}],
        }
        return (yield from self._one("PATCH", f"/feature-flags/rules/{segment(rule_id)}", body))

    @call
    def duplicate(self, site_code: str, feature_key: str) -> Flow[FeatureFlag]:
        """
        Make a copy of a flag. Known from other clients only.

        Raises:
            ApiError: The call failed.
        """
        return (yield from self._one("POST", f"{_place(site_code, feature_key)}/duplicate"))

    @call
    def archive(self, site_code: str, feature_key: str, archived: bool = True) -> Flow[FeatureFlag]:
        """
        Put a flag away, or with ``archived=False`` take it back.

        Raises:
            ApiError: The call failed.
        """
        body = {"featureKey": feature_key, "isArchived": archived}
        return (yield from self._one("PATCH", _place(site_code, feature_key), body))

    @call
    def delete(self, site_code: str, feature_key: str) -> Flow[None]:
        """
        Delete a flag for good. That the service has this call is assumed; `archive` is documented.

        Raises:
            ApiError: The call failed.
        """
        yield from self._caller.call("DELETE", _place(site_code, feature_key))

    def _put_environment(
        self, site_code: str, flag: FeatureFlag, environment_key: str, configuration: EnvironmentConfiguration
    ) -> Flow[FeatureFlag]:
        rules = configuration.rollout_rules or ()
        # Their order is what counts; an index that was read would contradict a rule that was moved.
        whole = replace(
            configuration,
            rollout_rules=tuple(replace(rule, order_index=index) for index, rule in enumerate(rules)),
            integrations=configuration.integrations or {"deliveryRules": [], "experimentRules": []},
        )
        body = {"featureKey": flag.feature_key, "name": flag.name, **whole.to_json()}
        path = f"{_place(site_code, str(flag.feature_key))}/{segment(environment_key)}"
        return (yield from self._one("PATCH", path, body))


def _place(site_code: str, feature_key: str) -> str:
    return f"/feature-flags/{segment(site_code)}/{segment(feature_key)}"


class FeatureFlags(FeatureFlagCalls, BlockingSide):
    """Blocking calls on flags."""


class AsyncFeatureFlags(FeatureFlagCalls, AsyncSide):
    """Awaited calls on flags."""


__all__ = [
    "Allocation",
    "AsyncFeatureFlags",
    "EnvironmentConfiguration",
    "FeatureFlag",
    "FeatureFlags",
    "FlagVariable",
    "FlagVariation",
    "RolloutRule",
]
