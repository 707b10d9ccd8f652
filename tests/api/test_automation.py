"""The Automation API's client against a strict service."""

import asyncio
import inspect
import itertools
import json
from dataclasses import replace
from urllib.parse import unquote

import pytest

from kameleoon.api.access import Credentials
from kameleoon.api.automation import RATES, AsyncAutomationApi, AutomationApi
from kameleoon.api.custom_data import CustomDatum
from kameleoon.api.errors import (
    CredentialsRefused,
    Forbidden,
    Invalid,
    Locked,
    NoAnswer,
    NotFound,
    ServerFault,
    UnexpectedAnswer,
)
from kameleoon.api.experiments import Experiment
from kameleoon.api.feature_flags import Allocation, EnvironmentConfiguration, FeatureFlag, FlagVariation, RolloutRule
from kameleoon.api.filters import all_of, any_of, asc, desc, where
from kameleoon.api.goals import Goal
from kameleoon.api.limiter import Rate
from kameleoon.api.personalizations import Personalization
from kameleoon.api.results import ResultsNotReady, ResultsQuery
from kameleoon.api.segments import Segment
from kameleoon.api.sites import Site
from kameleoon.api.users import User
from kameleoon.api.variations import Variation

SITE = "shop123456"


def test_lists_are_lazy_pages(automation, automation_service):
    """A list asks for a page only when it is wanted, and ends after the first page that is not full."""
    for number in range(450):
        automation_service.add("goals", name=f"g{number}", siteId=1, type="CUSTOM")
    goals = automation.goals.list()
    assert automation_service.to("GET", "/goals") == []
    first = list(itertools.islice(goals, 150))
    assert len(automation_service.to("GET", "/goals")) == 1
    assert len(first) + len(list(goals)) == 450
    assert [seen.query["page"] for seen in automation_service.to("GET", "/goals")] == ["1", "2", "3"]


@pytest.mark.parametrize(("per_page", "requests"), [(-1, 3), (200, 3), (100, 5), (7, 58)])
def test_every_page_size_gives_everything(automation, automation_service, per_page, requests):
    """Whatever the size of pages, each entity comes once; -1 is the most the service gives."""
    for number in range(400):
        automation_service.add("goals", name=f"g{number}", siteId=1, type="CUSTOM")
    automation_service.limits = []
    automation._caller._limiter("GET", True)._rates = (Rate(10_000, 1.0),)
    assert len({goal.id for goal in automation.goals.list(per_page=per_page)}) == 400
    assert len(automation_service.to("GET", "/goals")) == requests


@pytest.mark.parametrize("per_page", [0, -2, 201])
def test_a_page_size_that_is_refused_is_refused_before(automation, automation_service, per_page):
    """Sizes that the service does not know are a mistake of the caller, found at the call."""
    with pytest.raises(ValueError, match="per_page"):
        automation.goals.list(per_page=per_page)
    assert automation_service.seen == []


def test_a_service_that_ignores_pages_is_not_asked_for_ever(automation, automation_service):
    """A page that repeats the one before ends the list."""
    same = [{"id": number} for number in range(2)]
    automation_service.routes["GET", "/goals"] = lambda _seen: same
    assert len(list(automation.goals.list(per_page=2))) == 2
    assert len(automation_service.seen) == 3


def test_filters_and_orders_are_encoded(automation, automation_service):
    """Conditions and orders arrive as the JSON they are, percent-encoded without a plus for a space."""
    for name in ("Ordér & pay", "order more", "other"):
        automation_service.add("goals", name=name, siteId=41, type="CUSTOM")
    found = automation.goals.list(
        where("siteId") == 41, where("name").like("OR%r"), sort=[desc("name"), asc("id")], optional_fields=["a", "b"]
    )
    assert [goal.name for goal in found] == ["order more", "Ordér & pay"]
    seen = automation_service.to("GET", "/goals")[0]
    assert "+" not in seen.raw_query
    assert json.loads(unquote(seen.query["filter"])) == [
        {"field": "siteId", "operator": "EQUAL", "parameters": [41]},
        {"field": "name", "operator": "LIKE", "parameters": ["OR%r"]},
    ]
    assert seen.query["optionalFields"] == "a,b"


def test_every_operator_has_its_name():
    """The builder has each operator that the documentation lists."""
    field = where("f")
    made = [
        field.equal(1, 2), field != 1, field < 1, field > 1, field <= 1, field >= 1, field.like("a"), field.between(1, 2),
        field.not_like("a"), field.is_in(1), field.not_in(1), field.negated(1), field.is_null(), field.is_not_null(),
        field.is_true(), field.is_false(), field.is_empty(), field.is_not_empty(), field.contains(1),
    ]  # fmt: skip
    assert [condition.operator for condition in made] == [
        "EQUAL",
        "NOT_EQUAL",
        "LESS",
        "GREATER",
        "LESS_OR_EQUAL",
        "GREATER_OR_EQUAL",
        "LIKE",
        "BETWEEN",
        "NOT_LIKE",
        "IN",
        "NOT_IN",
        "NOT",
        "IS_NULL",
        "IS_NOT_NULL",
        "IS_TRUE",
        "IS_FALSE",
        "IS_EMPTY",
        "IS_NOT_EMPTY",
        "CONTAINS",
    ]
    assert made[0].to_json() == {"field": "f", "operator": "EQUAL", "parameters": [1, 2]}


def test_a_filter_cannot_be_made_of_nonsense():
    """Values that JSON has not, and empty lists, are refused."""
    for bad, error in [
        (lambda: where(""), ValueError),
        (lambda: where("f").equal(), ValueError),
        (lambda: where("f").equal(float("nan")), TypeError),
        (lambda: where("f") == object(), TypeError),
        (lambda: where("f") < float("-inf"), TypeError),
        (all_of, ValueError),
    ]:
        with pytest.raises(error):
            bad()
    assert (where("f") > 1.5).to_json() == {"field": "f", "operator": "GREATER", "parameters": [1.5]}


def test_searches_nest_expressions(automation, automation_service):
    """A search sends one expression in a body and goes through all pages."""
    for number in range(30):
        automation_service.add("segments", name=f"s{number}", siteId=number % 3)
    found = automation.segments.search(
        all_of(any_of(where("siteId") == 1, where("siteId") == 2), where("name").is_in("s1", "s2", "s3")), per_page=1
    )
    assert [segment.name for segment in found] == ["s1", "s2"]
    sorted_ = automation.segments.search(where("siteId") == 1, sort=[desc("name")], per_page=200)
    assert [segment.name for segment in sorted_] == sorted((f"s{n}" for n in range(1, 30, 3)), reverse=True)


CASES = [
    ("sites", Site(name="Shop", url="https://shop.example"), {"currency": "EUR"}),
    ("goals", Goal(name="Order", site_id=1, type="CUSTOM"), {"has_multiple_conversions": True}),
    ("segments", Segment(name="All", site_id=1, conditions_data={"firstLevel": []}), {"description": "x"}),
    ("custom_data", CustomDatum(name="plan", site_id=1, method="SDK"), {"scope": "VISITOR"}),
    ("experiments", Experiment(name="E", site_id=1, base_url="https://shop.example"), {"deviations": {"origin": 1}}),
    ("variations", Variation(name="V", site_id=1), {"js_code": "1"}),
    ("personalizations", Personalization(name="P", site_id=1), {"base_url": "https://x.example"}),
    ("users", User(email="a@b.example", first_name="A", last_name="B"), {"image_url": "https://i.example"}),
]


@pytest.mark.parametrize(("name", "entity", "change"), CASES, ids=[case[0] for case in CASES])
def test_every_resource_is_made_read_changed_and_deleted(automation, name, entity, change):
    """Each resource has its path, its required fields and its names."""
    resource = getattr(automation, name)
    made = resource.create(entity)
    assert made.id is not None
    assert resource.get(made.id) == made
    changed = resource.update(made.id, **change)
    assert all(getattr(changed, field) == value for field, value in change.items())
    assert [one.id for one in resource.list()] == [made.id]
    if hasattr(resource, "replace"):
        assert resource.replace(made.id, replace(changed, name="Other")).name == "Other"
    if hasattr(resource, "delete"):
        resource.delete(made.id)
    with pytest.raises(ValueError, match="needs"):
        resource.create(type(entity)())
    with pytest.raises(TypeError, match="no field 'nonsense'"):
        resource.update(made.id, nonsense=1)


def test_other_calls_have_their_paths(automation, automation_service):
    """What only one resource has goes where it belongs."""
    site = automation_service.add("sites", code=SITE, name="Shop", url="u")
    assert automation.sites.by_code(SITE).id == site["id"]
    experiment = automation.experiments.create(CASES[4][1])
    assert automation.experiments.change_status(experiment.id, "PAUSE").status == "PAUSED"
    assert [environment.key for environment in automation.environments.of_site(SITE)] == ["production", "staging"]
    segment = automation.segments.create(CASES[2][1])
    assert automation.segments.replace_condition(segment.id, 5, {"a": 1}).extra == {"replaced": {"a": 1}}


def test_what_is_new_is_kept_and_sent_back(automation, automation_service):
    """Fields and values that are not known survive reading and replacing."""
    row = automation_service.add("goals", name="g", siteId=1, type="BRAND_NEW", shiny={"a": [1, {"b": None}]})
    goal = automation.goals.get(row["id"])
    assert (goal.type, goal.extra) == ("BRAND_NEW", {"shiny": {"a": [1, {"b": None}]}})
    automation.goals.replace(row["id"], replace(goal, name="h"))
    assert automation_service.rows["goals"][row["id"]]["shiny"] == {"a": [1, {"b": None}]}
    automation.goals.update(row["id"], extra={"shinier": 2}, description=None)
    assert automation_service.rows["goals"][row["id"]]["shinier"] == 2


@pytest.mark.parametrize("value", [5, "x", [1], {"a": 1}, [{"key": 5}], None])
def test_a_value_of_another_shape_is_kept_as_it_came(value):
    """Reading an entity never fails on a shape that is not the documented one."""
    flag = FeatureFlag.from_json({"featureKey": "f", "variations": value})
    assert FeatureFlag.to_json(flag).get("variations") == ([] if value is None else value)


def flag():
    """A flag with an experiment and a delivery."""
    return FeatureFlag(
        feature_key="checkout",
        name="Checkout",
        site_code=SITE,
        variations=(FlagVariation(key="off", name="Off"), FlagVariation(key="on", name="On")),
        environment_configurations=(
            EnvironmentConfiguration(
                environment_key="production",
                default_variation_key="off",
                feature_enabled=True,
                rollout_rules=(
                    RolloutRule(
                        type="EXPERIMENTATION",
                        name="a",
                        state="ACTIVE",
                        exposition=80,
                        traffic_allocations=(
                            Allocation(variation_key="off", exposition=50),
                            Allocation(variation_key="on", exposition=50),
                        ),
                    ),
                    RolloutRule(type="TARGETED_DELIVERY", name="b", state="PAUSED", variation_key="on"),
                ),
            ),
        ),
    )


def test_editing_one_environment_keeps_the_rules(automation, automation_service):
    """An edit sends all rules with their ids, so that those not touched stay the same rules."""
    made = automation.feature_flags.create(flag())
    before = made.environment("production").rollout_rules
    assert [rule.status for rule in before] == ["ACTIVE", "PAUSED"]
    changed = automation.feature_flags.edit_environment(
        SITE,
        "checkout",
        "production",
        lambda now: replace(
            now, rollout_rules=(*now.rollout_rules[::-1], RolloutRule(type="TARGETED_DELIVERY", variation_key="off"))
        ),
    )
    after = changed.environment("production").rollout_rules
    assert [rule.id for rule in after[:2]] == [before[1].id, before[0].id]
    assert after[2].id not in {rule.id for rule in before}
    assert [rule.order_index for rule in after] == [0, 1, 2]
    assert after[1].experiment_id == before[0].experiment_id
    assert [rule.status for rule in after[:2]] == ["PAUSED", "ACTIVE"]
    sent = json.loads(automation_service.to("PATCH", f"/feature-flags/{SITE}/checkout/production")[0].body)
    assert (sent["featureKey"], sent["name"]) == ("checkout", "Checkout")
    assert "status" not in sent["rolloutRules"][0]
    with pytest.raises(KeyError):
        automation.feature_flags.edit_environment(SITE, "checkout", "moon", lambda now: now)


def test_flags_are_changed_and_put_away(automation):
    """Every change carries the flag's key, as the service wants."""
    flags = automation.feature_flags
    made = flags.create(flag())
    rule = made.environment("production").rollout_rules[0]
    assert flags.update(SITE, "checkout", name="New", description="d").name == "New"
    changed = flags.update_rule("checkout", "production", rule.id, state="PAUSED", exposition=10)
    assert changed.environment("production").rollout_rules[0].status == "PAUSED"
    assert flags.duplicate(SITE, "checkout").feature_key == "checkout_copy"
    assert flags.archive(SITE, "checkout").archived is True
    assert {one.feature_key for one in flags.list(where("siteCode") == SITE)} == {"checkout", "checkout_copy"}
    flags.delete(SITE, "checkout")
    with pytest.raises(NotFound):
        flags.get(SITE, "checkout")


def test_only_what_the_service_takes_is_written():
    """What only the service gives is left out of what goes back; the state goes under its name in requests."""
    rule = RolloutRule.from_json({"id": 1, "status": "PAUSED", "experimentId": 2, "currentExposition": 3})
    assert rule.to_json() == {"id": 1, "state": "PAUSED"}
    assert replace(rule, state="ACTIVE").to_json() == {"id": 1, "state": "ACTIVE"}
    assert RolloutRule(id=1).to_json() == {"id": 1}
    assert Allocation(variation_key="on", variation_id=7, exposition=5.0).to_json() == {
        "variationKey": "on",
        "exposition": 5.0,
    }
    there = EnvironmentConfiguration(environment_key="production", date_modified="2026-01-01T00:00:00Z")
    assert there.to_json() == {"environmentKey": "production"}


def test_an_environment_is_replaced_as_it_is_given(automation, automation_service):
    """Rules go out in the order given; integrations go back untouched, and empty when there are none."""
    made = automation.feature_flags.create(flag())
    before = made.environment("production")
    given = {"deliveryRules": [{"a": 1}], "experimentRules": []}
    for integrations, sent in [(given, given), (None, {"deliveryRules": [], "experimentRules": []})]:
        automation.feature_flags.replace_environment(
            SITE, made, "production", replace(before, integrations=integrations, rollout_rules=None)
        )
        body = json.loads(automation_service.seen[-1].body)
        assert (body["integrations"], body["rolloutRules"]) == (sent, [])
    automation.feature_flags.get(SITE, "checkout", optional_fields=["tags", "health"])
    assert automation_service.seen[-1].query == {"optionalFields": "tags,health"}


def test_keys_cannot_leave_their_place(automation, automation_service):
    """A key with a slash or a question mark is one segment of the path; dots alone are refused."""
    with pytest.raises(NotFound):
        automation.feature_flags.get(SITE, "../goals?x=1")
    assert automation_service.seen[-1].path == f"/feature-flags/{SITE}/../goals?x=1"
    for key in ("", ".", ".."):
        with pytest.raises(ValueError, match="key or id"):
            automation.feature_flags.get(SITE, key)


def test_results_are_waited_for_and_flat(automation, automation_service, hasty):
    """Results come as one row for each variation and goal, and keep what is new."""
    pauses = hasty(automation)
    automation.results._sender = automation._sender
    automation_service.waiting = 3
    rows = automation.results.of_flag(7, ResultsQuery(date_intervals=({"start": "2026-01-01T00:00:00"},)))
    assert [(row.variation_id, row.goal_id, row.conversion_count, row.visit_count) for row in rows] == [
        ("3001", 501, 9, 120),
        ("3001", 502, 9, 120),
        ("3002", 501, 9, 120),
        ("3002", 502, 9, 120),
    ]
    assert rows[0].extra == {"new": 1}
    assert pauses == [2.0] * 3
    automation_service.waiting = 99
    with pytest.raises(ResultsNotReady):
        automation.results.wait("x", timeout_s=5)
    automation_service.fail("GET", "/results", (200, {"status": "ERROR"}))
    with pytest.raises(UnexpectedAnswer):
        automation.results.wait("x")


@pytest.mark.parametrize(("timeout_s", "looks"), [(5.9, 3), (4, 3), (3.9, 2), (0, 1)])
def test_waiting_for_results_keeps_to_its_time(automation, automation_service, hasty, timeout_s, looks):
    """The service is asked as often as the time allows, once at least."""
    pauses = hasty(automation)
    automation.results._sender = automation._sender
    automation_service.waiting = 99
    with pytest.raises(ResultsNotReady, match=f"after {2 * (looks - 1)} s"):
        automation.results.wait("x", timeout_s=timeout_s)
    assert (len(automation_service.to("GET", "/results")), pauses) == (looks, [2.0] * (looks - 1))


def test_results_without_goals_are_rows_too():
    """A variation without goals has one row of its visits; a goal whose id is no number has a row without one."""
    from kameleoon.api.results import rows_of

    def variation(goals):
        return {"breakdownData": {"_reference": {"generalData": {"visitCount": 3, "goalsData": goals}}}}

    rows = rows_of({"variationData": {"0": variation(None), "1": variation({"²": {"conversionCount": 2}, "7": {}})}})
    assert [(row.variation_id, row.goal_id, row.visit_count, row.conversion_count) for row in rows] == [
        ("0", None, 3, None),
        ("1", None, 3, 2),
        ("1", 7, 3, None),
    ]


def test_the_other_ways_to_results(automation, automation_service):
    """Results of experiments, and in two steps, have their paths; an answer without a code is an error."""
    query = ResultsQuery()
    assert len(automation.results.of_experiment(9, query)) == 4
    assert automation.results.request_flag(7, query) == "feature-flags-7"
    assert automation.results.request_experiment(9, query) == "experiments-9"
    assert len(automation.results.wait("experiments-9")) == 4
    for answer in ({}, {"dataCode": ""}, {"dataCode": 5}):
        automation_service.fail("POST", "/experiments/9/results", (200, answer))
        with pytest.raises(UnexpectedAnswer, match="dataCode"):
            automation.results.request_experiment(9, query)


@pytest.mark.parametrize(
    "data", [None, 5, {}, {"variationData": {"1": None}}, {"variationData": {"1": {"breakdownData": []}}}]
)
def test_results_of_another_shape_are_no_rows(data):
    """What is not there gives no rows and no error."""
    from kameleoon.api.results import rows_of

    assert rows_of(data) == ()


def test_errors_name_the_fields(automation):
    """A refused entity says which fields are wrong."""
    automation.feature_flags.create(flag())
    with pytest.raises(Invalid, match="featureKey: taken") as caught:
        automation.feature_flags.create(flag())
    assert caught.value.field_errors[0].name == "featureKey"
    assert b"checkout" in caught.value.sent.body


def test_a_creation_is_never_sent_twice(automation, automation_service):
    """A lost answer or a 5xx to a POST that creates ends the call; a refusal for the rate does not."""
    automation_service.fail("POST", "/goals", "lose", 500, (429, b"", {"Retry-After": "0"}))
    goal = CASES[1][1]
    with pytest.raises(NoAnswer):
        automation.goals.create(goal)
    with pytest.raises(ServerFault):
        automation.goals.create(goal)
    automation.goals.create(goal)
    assert len(automation_service.rows["goals"]) == 2


def test_other_calls_survive_lost_answers(automation, automation_service, hasty):
    """Calls that are safe to repeat are repeated; a deletion whose answer was lost is done."""
    hasty(automation)
    automation.goals._sender.pause = automation._sender.pause
    made = automation.goals.create(CASES[1][1])
    automation_service.fail("PATCH", f"/goals/{made.id}", "lose", 502)
    assert automation.goals.update(made.id, name="x").name == "x"
    automation_service.fail("DELETE", f"/goals/{made.id}", "lose")
    automation.goals.delete(made.id)
    with pytest.raises(NotFound):
        automation.goals.delete(made.id)


def test_a_locked_entity_is_left_to_the_caller(automation, automation_service):
    """423 is not forced and not repeated; the error says that later may do."""
    automation_service.fail("PATCH", "/goals/5", 423)
    with pytest.raises(Locked) as caught:
        automation.goals.update(5, name="x")
    assert caught.value.retryable
    assert len(automation_service.to("PATCH", "/goals/5")) == 1


def test_a_revoked_token_is_renewed_once(automation, automation_service):
    """A 403 gives a cached token up once; a right that is missing then stays an error without more tokens."""
    list(automation.goals.list())
    automation_service.tokens.clear()
    list(automation.goals.list())
    assert automation_service.granted == 2
    automation_service.fail("GET", "/goals/9", 403)
    with pytest.raises(Forbidden):
        automation.goals.get(9)
    assert automation_service.granted == 2


def test_wrong_credentials_say_so(automation_service):
    """Wrong credentials are their own error."""
    with AutomationApi(Credentials("shop", "nope"), base_url=automation_service.url) as api:
        with pytest.raises(CredentialsRefused):
            list(api.goals.list())
        assert len(automation_service.seen) == 1


def test_both_rates_are_the_documented_ones(automation):
    """Fifty in ten seconds and a thousand in an hour, in one limiter for all resources and clients of one account."""
    assert (Rate(50, 10.0), Rate(1000, 3600.0)) == RATES
    limiter = automation._caller._limiter("GET", True)
    assert limiter is automation._caller._limiter("POST", True)
    assert limiter._rates == RATES


def test_the_rates_hold_across_clients(automation_service, credentials, hasty):
    """The fifty-first call within ten seconds waits for the first to be ten seconds old."""
    with (
        AutomationApi(credentials, base_url=automation_service.url) as one,
        AutomationApi(credentials, base_url=automation_service.url) as other,
    ):
        pauses = hasty(other)
        automation_service.add("goals", name="g", siteId=1, type="CUSTOM")
        for _ in range(50):
            one.goals.get(100)
        assert pauses == []
        other.goals.get(100)
        assert 5 < sum(pauses) <= 10.1


def test_the_asyncio_client_has_the_same_calls(automation_service, credentials):
    """Each resource has the same calls on both sides; lists are iterated with ``async for``."""
    automation_service.add("goals", name="g", siteId=1, type="CUSTOM")

    async def ask():
        async with AsyncAutomationApi(credentials, base_url=automation_service.url) as api:
            found = [goal async for goal in api.goals.list(per_page=1)]
            return (
                found,
                await api.goals.get(found[0].id),
                {name: kind for name, kind in vars(api).items() if name[0] != "_"},
            )

    found, again, awaited = asyncio.run(ask())
    assert found == [again]
    with AutomationApi(credentials, base_url=automation_service.url) as api:
        blocking = {name: kind for name, kind in vars(api).items() if name[0] != "_"}
    assert set(blocking) == set(awaited)
    for name, resource in blocking.items():
        calls = {call for call in dir(resource) if call[0] != "_"}
        assert calls == {call for call in dir(awaited[name]) if call[0] != "_"}
        for call in calls:
            assert inspect.signature(getattr(resource, call)) == inspect.signature(getattr(awaited[name], call))


def test_a_closed_client_makes_no_calls(automation_service, credentials):
    """After ``with`` a client is closed; a method reached through the class is the same method."""
    with AutomationApi(credentials, base_url=automation_service.url) as api:
        assert type(api.sites).list(api.sites) is not None
        assert list(type(api.goals).list(api.goals)) == []
        with pytest.raises(NotFound):
            type(api.goals).get(api.goals, 5)
    seen = len(automation_service.seen)
    with pytest.raises(NoAnswer, match="closed"):
        api.goals.get(5)
    assert len(automation_service.seen) == seen
    assert AutomationApi.__enter__(api) is api


def test_awaited_lists_go_through_all_pages(automation_service, credentials):
    """An asynchronous iterator asks for page after page."""
    for number in range(5):
        automation_service.add("goals", name=f"g{number}", siteId=1, type="CUSTOM")

    async def ask():
        async with AsyncAutomationApi(credentials, base_url=automation_service.url) as api:
            return [goal.name async for goal in api.goals.list(per_page=2)]

    assert asyncio.run(ask()) == [f"g{number}" for number in range(5)]
    assert [seen.query["page"] for seen in automation_service.to("GET", "/goals")] == ["1", "2", "3"]


def test_a_password_is_in_no_text():
    """A user's password is neither shown nor needed."""
    assert "hush" not in repr(User(password="hush", password_confirm="hush"))
