"""Whatever stands in a project and whatever is known of a visitor: an evaluation raises nothing, and explaining agrees with it."""

import copy
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kameleoon._convert.flags import ConvertFlags
from kameleoon._convert.read import ProjectRefused
from kameleoon._convert.ruleset import compile_project
from kameleoon._runtime.intake import take_in
from kameleoon.data import (
    Browser,
    BrowserType,
    Conversion,
    CustomData,
    Device,
    DeviceType,
    Geolocation,
    PageView,
)
from kameleoon.stores import MemoryStore

NOW = 1_700_000_000_000
WORDS = [
    "exp",
    "on",
    "off",
    "5001",
    "6002",
    "101",
    "81",
    "91",
    "tier",
    "gold",
    "equals",
    "regexMatches",
    "(",
    "[a-",
    "anchored",
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**15, 10**30)
    | st.floats(allow_nan=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=4)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=6,
)
CODES = st.text(st.characters(codec=None), min_size=1, max_size=6) | st.sampled_from(["v", "visitor-1", "\ud800"])
VALUES = (
    st.none()
    | st.booleans()
    | st.floats()
    | st.sampled_from(["gold", "", "5", "[a-"])
    | st.text(st.characters(codec="utf-8"), max_size=4)
)


def places(value, path=()):
    """All paths into a JSON value."""
    yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def put(root, path, value):
    """Set what stands at *path*."""
    for key in path[:-1]:
        root = root[key]
    root[path[-1]] = value


@st.composite
def told(draw):
    """What an application might tell of a visitor."""
    data = [CustomData(draw(st.sampled_from(["tier", "orders", "campaign", ""])), *draw(st.lists(VALUES, max_size=2)))]
    if draw(st.booleans()):
        data += [PageView(draw(st.sampled_from(["/shop", "x"])), draw(st.sampled_from(["", "T"])))]
        data += [Device(draw(st.sampled_from(DeviceType))), Browser(draw(st.sampled_from(BrowserType)))]
        data += [Geolocation(draw(st.none() | st.sampled_from(["FR", "France", "1é"]))), Conversion(7001, 1.0)]
    return data


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_project_makes_an_evaluation_raise(shop, data):
    """Up to four pieces of a project are anything: its flags answer, explain themselves alike, and give only texts and numbers as ids."""
    root = shop()
    for version in data.draw(st.sampled_from([[], [12], ["12"], [None]])):
        root["experiences"][0]["version"] = version
    for _ in range(data.draw(st.integers(0, 4))):
        paths = [path for path in places(root) if path]
        in_rules = [path for path in paths if "OR_WHEN" in path]
        if in_rules and data.draw(st.booleans()):
            paths = in_rules  # few of all places, and the most delicate
        put(root, data.draw(st.sampled_from(paths)), copy.deepcopy(data.draw(JSON)))
    try:
        flags = ConvertFlags(compile_project(root))
    except ProjectRefused:
        return
    json.dumps([str(problem) for problem in flags.problems])
    flags.has_delivery()
    assert list(flags.view().feature_flags) == list(flags.flag_keys)
    store = MemoryStore(1800.0, 100)
    code = data.draw(CODES)
    if code.encode(errors="replace").decode() == code:
        take_in(store, flags.catalogue, code, data.draw(told()), NOW)
    for key in (*flags.flag_keys, *flags.flag_keys):
        visitor = store.peek(code)
        record = None if visitor is None else visitor.record
        flag = flags.flag(key)
        choice, held = flag.decide(record, code, NOW)
        seen = flags.walk(key, record, code, NOW)
        assert (seen.choice, seen.reason) == (choice, choice.reason)
        json.dumps([str(one) for one in seen.rules])
        assert choice.is_active or not choice.variation.is_active
        assert choice.variation_key == "off" or flag.variables_of(choice.variation_key) is not None
        for one in (*(held or ()), choice):
            if one.is_stored:
                assert type(one.experiment_id) is type(one.variation_id) is int
                assert flags.of_experiment(one.experiment_id) is not None
                store.assign(code, visitor, one, True, NOW)
                visitor = store.peek(code)
    visitor = store.peek(code)
    flags.audiences(None if visitor is None else visitor.record, code, NOW)
