"""
Results of flags and experiments: asked for, computed by the service, fetched when ready.

The names in the answer are known from other clients, and that rates are fractions is assumed.

Source:
    docs/automation-api.md, "Results".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kameleoon._transport.message import Pause
from kameleoon.api.errors import ApiError, Sent, UnexpectedAnswer
from kameleoon.api.model import Entity, Json
from kameleoon.api.resources import body_of, segment
from kameleoon.api.twins import AsyncSide, BlockingSide, Side, call

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kameleoon._transport.flow import Flow


class ResultsNotReady(ApiError):
    """The service was still computing when the caller's time was up."""

    retryable = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsQuery(Entity):
    """
    What is wanted.

    Attributes:
        date_intervals: ``[{start, end}]`` of ISO 8601 times; required for flags.
        conversion_type: ``ALL_CONVERSION`` or ``CONVERTED_VISITS``.
        visitor_data: Count unique visitors rather than visits.
        reference_variation_id: ``"0"`` for the original.
        breakdown: Such as ``{"type": "DEVICE_TYPE"}``.
    """

    date_intervals: tuple[Json, ...] | None = None
    conversion_type: str = "ALL_CONVERSION"
    visitor_data: bool | None = None
    goals_ids: tuple[int, ...] | None = None
    goal_ids_cuped: tuple[int, ...] | None = None
    reference_variation_id: str | None = None
    all_variations_data: bool | None = None
    bayesian: bool | None = None
    sequential_testing: bool | None = None
    enabled_multiple_testing: bool | None = None
    breakdown: Json | None = None
    filters: tuple[Json, ...] | None = None
    callback_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow(Entity):
    """
    One variation and one goal.

    Attributes:
        variation_id: As text; ``_reference`` is the original page of a web experiment.
        breakdown: The value that the row is for; ``_reference`` without a breakdown.
        goal_id: ``None`` in the row of a variation without goals.
    """

    variation_id: str = ""
    breakdown: str = ""
    goal_id: int | None = None
    visit_count: int | None = None
    visitor_count: int | None = None
    conversion_count: int | None = None
    converted_visit_count: int | None = None
    revenue_count: float | None = None
    average_cart: float | None = None
    conversion_rate: float | None = None
    improvement_rate: float | None = None
    reliability: float | None = None


class ResultCalls(Side):
    """Calls on results."""

    @call
    def of_flag(
        self, feature_flag_id: int, query: ResultsQuery, *, timeout_s: float = 60.0, every_s: float = 2.0
    ) -> Flow[tuple[ResultRow, ...]]:
        """
        Ask for the results of a flag and wait for them.

        Args:
            feature_flag_id: The flag's id; a tutorial of the service uses the experiment id of the rule instead.
            query: What is wanted.
            timeout_s: Longest wait in seconds.
            every_s: Seconds between two looks, above 0.

        Raises:
            ResultsNotReady: They were not ready in time.
            UnexpectedAnswer: The service could not compute them.
            ApiError: A call failed.
        """
        code = yield from self._request(f"/feature-flags/{segment(feature_flag_id)}/results", query)
        return (yield from self._wait(code, timeout_s, every_s))

    @call
    def of_experiment(
        self, experiment_id: int, query: ResultsQuery, *, timeout_s: float = 60.0, every_s: float = 2.0
    ) -> Flow[tuple[ResultRow, ...]]:
        """Ask for the results of an experiment and wait for them; otherwise as `of_flag`."""
        code = yield from self._request(f"/experiments/{segment(experiment_id)}/results", query)
        return (yield from self._wait(code, timeout_s, every_s))

    @call
    def request_flag(self, feature_flag_id: int, query: ResultsQuery) -> Flow[str]:
        """
        Ask for the results of a flag without waiting.

        Returns:
            The code for `wait`.

        Raises:
            ApiError: The call failed.
        """
        return (yield from self._request(f"/feature-flags/{segment(feature_flag_id)}/results", query))

    @call
    def request_experiment(self, experiment_id: int, query: ResultsQuery) -> Flow[str]:
        """Ask for the results of an experiment without waiting, as `request_flag`."""
        return (yield from self._request(f"/experiments/{segment(experiment_id)}/results", query))

    @call
    def wait(self, data_code: str, *, timeout_s: float = 60.0, every_s: float = 2.0) -> Flow[tuple[ResultRow, ...]]:
        """Wait for results that were asked for; arguments and errors as `of_flag`."""
        return (yield from self._wait(data_code, timeout_s, every_s))

    def _request(self, path: str, query: ResultsQuery) -> Flow[str]:
        value = yield from self._caller.json(dict, "POST", path, (), body_of(query))
        code = value.get("dataCode")
        if not isinstance(code, str) or not code:
            raise UnexpectedAnswer(f"POST {path}: the answer has no dataCode", Sent("POST", path))
        return code

    def _wait(self, code: str, timeout_s: float, every_s: float) -> Flow[tuple[ResultRow, ...]]:
        waited_s = 0.0
        sent = Sent("GET", f"{self._caller.base_url}/results")
        while True:
            value = yield from self._caller.json(dict, "GET", "/results", [("dataCode", code)])
            status = value.get("status")
            if status == "READY":
                return rows_of(value.get("data"))
            if status == "ERROR":
                raise UnexpectedAnswer("the service could not compute the results", sent)
            if waited_s + every_s > timeout_s:
                raise ResultsNotReady(f"the results were not ready after {waited_s:.0f} s", sent)
            yield Pause(every_s)
            waited_s += every_s


def rows_of(data: Any) -> tuple[ResultRow, ...]:
    """
    Flatten the data of a ready answer, without raising for what is missing in it.

    Returns:
        One row for each variation, breakdown value and goal, in the service's order.
    """
    rows: list[ResultRow] = []
    for variation_id, variation in _members(_member(data, "variationData")):
        for breakdown, part in _members(_member(variation, "breakdownData")):
            general = dict(_members(_member(part, "generalData")))
            goals = _members(general.pop("goalsData", None))
            place = {"variationId": variation_id, "breakdown": breakdown}
            if not goals:
                rows.append(ResultRow.from_json({**general, **place}))
            for goal_id, goal in goals:
                number = int(goal_id) if goal_id.isascii() and goal_id.isdigit() else None
                measured = dict(_members(goal))
                rows.append(ResultRow.from_json({**general, **measured, **place, "goalId": number}))
    return tuple(rows)


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _members(value: Any) -> Iterable[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


class Results(ResultCalls, BlockingSide):
    """Blocking calls on results."""


class AsyncResults(ResultCalls, AsyncSide):
    """Awaited calls on results."""
