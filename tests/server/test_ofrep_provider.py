"""The OpenFeature OFREP provider from the package registry, in an environment of its own, against ``kameleoon serve``."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests

PYTHON = os.environ.get("KAMELEOON_OFREP_PYTHON")
"""Interpreter of an environment with the package ``openfeature-provider-ofrep``; without it the tests are left out."""

pytestmark = pytest.mark.skipif(PYTHON is None, reason="KAMELEOON_OFREP_PYTHON names no environment with the provider")

PROJECT = """\
project: {site_code: ofrep12345}
environments: [production, staging]
custom_data: [{name: plan, index: 1}, {name: visits, index: 2}]
segments:
  gold_phones: {all: [{custom_data: plan, is: gold}, {device: phone}]}
  regulars: {custom_data: visits, above: 3}
flags:
  checkout:
    default: classic
    variations:
      classic: {variables: {title: Cart, columns: 2, ratio: 0.5, open: false, layout: {side: right}, sizes: [1, 2]}}
      express: {variables: {title: "Grüße <b>", columns: 1, ratio: 1.5, open: true, layout: {side: none}, sizes: []}}
    rules: [{deliver: express, to: gold_phones}, {experiment: {classic: 50%, express: 50%}, to: regulars}]
  gift: {rules: [{deliver: on, to: gold_phones}]}
  closed: {default: on, environments: []}
"""
GOLD = {"plan": "gold", "device": "phone"}


class Provider:
    """The application's process."""

    def __init__(self, url):
        self._process = subprocess.Popen(
            [PYTHON, "-I", "-u", str(Path(__file__).with_name("ofrep_provider.py")), url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "NO_PROXY": "*", "no_proxy": "*"},
        )

    def __call__(self, kind, key, default, code="v", attributes=None):
        """What the application gets."""
        self._process.stdin.write(json.dumps([kind, key, default, code, attributes or {}]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def end(self):
        """End the process."""
        with self._process:
            self._process.kill()


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """Where ``kameleoon serve`` answers."""
    file = tmp_path_factory.mktemp("ofrep") / "project.yaml"
    file.write_text(PROJECT, encoding="utf-8")
    command = [sys.executable, "-m", "kameleoon", "serve", str(file), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield re.search(r"at (http://\S+)", server.stdout.readline())[1]
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def provider(url):
    """An application with the provider."""
    provider = Provider(url)
    yield provider
    provider.end()


def test_values_of_every_type(provider):
    """Flags and variables come with their types, variation, reason and ids."""
    for kind, key, gold, others in (
        ("boolean", "checkout", True, True),
        ("boolean", "checkout.open", True, False),
        ("string", "checkout.title", "Grüße <b>", "Cart"),
        ("integer", "checkout.columns", 1, 2),
        ("float", "checkout.ratio", 1.5, 0.5),
        ("object", "checkout.layout", {"side": "none"}, {"side": "right"}),
        ("object", "checkout.sizes", [], [1, 2]),
    ):
        default = {"boolean": False, "string": "?", "integer": -1, "float": -1.0, "object": {"none": 1}}[kind]
        found = provider(kind, key, default, attributes=GOLD)
        assert (found["value"], found["variant"], found["reason"]) == (gold, "express", "TARGETING_MATCH"), key
        assert (found["error"], found["metadata"]["flag"]) == (None, "checkout")
        assert {type(found["metadata"][name]) for name in ("experimentId", "variationId")} == {int}
        found = provider(kind, key, default)
        assert (found["value"], found["variant"], found["reason"]) == (others, "classic", "DEFAULT"), key
        assert found["metadata"] == {"flag": "checkout"}
    assert provider("string", "checkout", "?", attributes={"variableKey": "title"})["value"] == "Cart"


def test_the_context_decides(provider):
    """Custom data and devices of the context are what rules see; the targeting key is drawn by."""
    assert provider("boolean", "gift", False, attributes=GOLD)["value"] is True
    for other in ({"plan": "gold"}, {"plan": "free", "device": "phone"}, {"plan": "gold", "device": "tablet"}, {}):
        assert provider("boolean", "gift", True, attributes=other)["value"] is False
    drawn = [provider("string", "checkout.title", "?", f"v{number}", {"visits": 4}) for number in range(40)]
    assert {found["variant"] for found in drawn} == {"classic", "express"}
    assert {found["reason"] for found in drawn} == {"SPLIT"}
    again = [provider("string", "checkout.title", "?", f"v{number}", {"visits": 9}) for number in range(40)]
    assert again == drawn
    closed = provider("boolean", "closed", False)
    assert (closed["value"], closed["reason"]) == (True, "DISABLED")


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (("boolean", "none", True), "FLAG_NOT_FOUND"),
        (("string", "checkout.none", "d"), "FLAG_NOT_FOUND"),
        (("string", "checkout", "d"), "TYPE_MISMATCH"),
        (("integer", "checkout.ratio", 7), "TYPE_MISMATCH"),
        (("boolean", "gift", True, ""), "TARGETING_KEY_MISSING"),
        (("boolean", "gift", True, "v", {"device": "toaster"}), "INVALID_CONTEXT"),
        (("boolean", "gift", True, "x" * 256), "INVALID_CONTEXT"),
    ],
)
def test_errors_leave_the_default(provider, asked, error):
    """What cannot be evaluated gives the application its default and OpenFeature's own error."""
    found = provider(*asked)
    assert (found["value"], found["reason"], found["error"]) == (asked[2], "ERROR", error)


def test_all_at_once_say_the_same(url, provider):
    """The bulk answer, which this provider does not ask for, has what it gets one by one, and its ETag holds as long as that does."""
    body = {"context": {"targetingKey": "v", **GOLD}}
    bulk = requests.post(f"{url}/ofrep/v1/evaluate/flags", json=body, timeout=10)
    kinds = {bool: "boolean", str: "string", int: "integer", float: "float", dict: "object", list: "object"}
    for answer in bulk.json()["flags"]:
        kind = kinds[type(answer["value"])]
        found = provider(kind, answer["key"], None, attributes=GOLD)
        assert {name: found[name] for name in ("value", "variant", "reason", "metadata")} == {
            name: answer[name] for name in ("value", "variant", "reason", "metadata")
        }
    same = {"If-None-Match": bulk.headers["ETag"]}
    assert requests.post(f"{url}/ofrep/v1/evaluate/flags", json=body, headers=same, timeout=10).status_code == 304
    body["context"]["plan"] = "free"
    assert requests.post(f"{url}/ofrep/v1/evaluate/flags", json=body, headers=same, timeout=10).status_code == 200
