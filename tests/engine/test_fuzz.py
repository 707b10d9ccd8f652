"""Whatever a configuration and a visitor's data hold, an evaluation raises nothing but the documented errors, and soon."""

# Times are those of the thread alone: what else runs on the machine is no matter of the engine.

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

from generated_cases import NOW, Chance, as_text, record_of
from hypothesis import given, settings
from hypothesis import strategies as st

from kameleoon import CustomData, KameleoonClientConfig, PageView
from kameleoon._engine.ruleset import compile_ruleset
from kameleoon.client import KameleoonClient
from kameleoon.exceptions import KameleoonError

WORKED = json.loads(Path(__file__).with_name("worked_example.json").read_text("utf-8"))["configuration"]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 60),
    st.integers(),
    st.sampled_from([10**400, -(10**400), 2**63]),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["\ud800", "9" * 5_000, "on", "promo", "VISITOR_CODE", "EXACT", "[", '{"a":[1]}']),
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def places(value, path=()):
    """All paths into a JSON value."""
    yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def changed(root, path, value):
    """A copy of *root* with something else at *path*; shares what did not change."""
    if not path:
        return value
    copy = root.copy()
    copy[path[0]] = changed(root[path[0]], path[1:], value)
    return copy


@st.composite
def broken_roots(draw):
    """A valid configuration with up to four pieces replaced."""
    chance = Chance(draw(st.integers(0, 2**64)), draw(st.integers(1, 3)), 0.0, old_shape=draw(st.booleans()))
    root = draw(st.sampled_from([WORKED, None])) or chance.root()
    for _ in range(draw(st.integers(1, 4))):
        paths = [path for path in places(root) if path]
        if not paths:
            break
        root = changed(root, draw(st.sampled_from(paths)), draw(anything))
    return root, chance


def took_s(ruleset, key, record, code):
    """Seconds of this thread's own time that one flag takes, compiling included."""
    started = time.thread_time()
    ruleset.flag(key).decide(record, code, NOW)
    return time.thread_time() - started


@settings(max_examples=150)
@given(broken_roots())
def test_broken_configurations(drawn):
    """A configuration with pieces of any value in any place answers for every flag, and in 50 ms."""
    root, chance = drawn
    ruleset = compile_ruleset(root)
    ruleset.view()
    ruleset.has_delivery()
    for _ in range(3):
        code, record = chance.code(), record_of(chance.known())
        for key in ruleset.flag_keys:
            if took_s(ruleset, key, record, code) >= 0.05:
                # A busy machine may have been slow once; a configuration that is slow is so each time.
                again = [took_s(compile_ruleset(root), key, record, code) for _ in range(3)]
                assert min(again) < 0.05, as_text(root)
        ruleset.audiences(record, code, NOW)
        for experiment in (1, 900, None, "x"):
            ruleset.of_experiment(experiment)


@settings(max_examples=60)
@given(st.binary(max_size=60) | anything.map(lambda value: json.dumps(value, ensure_ascii=True).encode()))
def test_any_bytes_as_a_file(tmp_path_factory, content):
    """A client whose configuration file holds any bytes answers as if there were no flags, or with those it can read."""
    path = tmp_path_factory.getbasetemp() / "fuzz.json"
    path.write_bytes(content)
    with KameleoonClient("fuzz", KameleoonClientConfig(source=path, multi_threading=False)) as client:
        client.wait_init(1)
        client.get_variations("v")
        client.evaluate_audiences("v")
        with contextlib.suppress(KameleoonError):
            client.is_feature_active("v", "checkout")


values = st.one_of(st.text(max_size=8), st.integers(), st.floats(), st.booleans(), st.none())


@settings(max_examples=60)
@given(st.integers(0, 2**64), st.text(max_size=8), st.lists(values, max_size=3), st.text(min_size=1, max_size=8))
def test_any_visitor(seed, code, told, url):
    """Whatever is told of a visitor, evaluations give an answer or a documented error."""
    root = Chance(seed, 4, 0.05, old_shape=False).root()
    with KameleoonClient("fuzz", KameleoonClientConfig(source=root, multi_threading=False)) as client:
        client.wait_init()
        try:
            for index in range(4):
                client.add_data(code, CustomData(index, *told))
            client.add_data(code, PageView(url, url))
        except (KameleoonError, ValueError):
            pass
        for key in [*root_keys(root), "\ud800", "", None, 3, ("a",), ["a"]]:
            try:
                client.get_variation(code, key)
                client.is_feature_active(code, key)
            except KameleoonError:
                pass
        for other in (None, 3, "", "\ud800", b"x", "x" * 256):
            with contextlib.suppress(KameleoonError):
                client.get_variations(other)


def root_keys(root):
    """The flags' keys."""
    return [flag["featureKey"] for flag in root["featureFlags"]]
