"""Flags as code against a strict service: nothing lost, nothing done twice, nothing deleted unasked."""

import copy
import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading

import pytest

from kameleoon.project_sync.impact import generated_codes, impact
from kameleoon.server.project_file import parse_project

PROJECT = """
project: {site_code: shop123456, name: Shop}
environments: [production, staging]
custom_data:
  - {name: plan, index: 1, scope: visitor}
goals:
  - {key: purchase, name: Order paid}
segments:
  buyers: {all: [{converted: purchase}, {segment: phones}]}
  phones: {any: [{device: phone}, {custom_data: plan, is: gold}]}
flags:
  checkout:
    name: Checkout
    bucket_by: plan
    variables: {title: string, columns: number, layout: json, fast: boolean}
    variations:
      off: {variables: {title: Cart, columns: 2, layout: {a: [1]}, fast: false}}
      on: {name: New, variables: {title: Buy, columns: 2.5, layout: [], fast: true}}
    rules:
      - {deliver: on, to: buyers, key: loyal}
      - {experiment: {off: 50%, on: 50%}, exposition: 80%, key: spring}
    environments: {staging: on, production: off}
  banner: {rules: [{deliver: on, key: all, paused: true}]}
"""


@pytest.fixture
def file(tmp_path):
    """The project as a file."""
    path = tmp_path / "project.yaml"
    path.write_text(PROJECT)
    return path


def changed(rows):
    """What the service holds, to compare."""
    return json.dumps(rows, sort_keys=True)


def test_a_plan_changes_nothing_and_says_so(run, service, file):
    """A plan lists what would be done, in order, and ends with code 3."""
    code, out, err = run("plan", file)
    assert (code, err) == (3, "")
    assert {seen.method for seen in service.seen if seen.path != "/oauth/token"} == {"GET"}
    signs = [line.strip() for line in out.splitlines() if line.startswith("  ") and line[2] in "+~-"]
    assert signs == [
        "+ custom data plan",
        "+ goal purchase",
        "+ flag checkout",
        "+ flag banner",
        "+ segment phones",
        "+ segment buyers",
        "~ flag checkout in production",
        "~ flag checkout in staging",
        "~ flag banner in production",
        "~ flag banner in staging",
    ]
    assert "6 to create, 4 to update" in out


def test_applying_makes_it_so_and_applying_again_does_nothing(run, service, file):
    """After an apply the plan is empty; a second apply makes no call that writes."""
    service.rows["custom-datas"] = {}
    code, out, err = run("apply", file, "--yes")
    assert (code, err) == (0, "")
    assert "done 10 of 10" in out
    assert run("plan", file)[:2] == (0, f"shop123456 at {service.url}\nnothing to do\n")
    before, writes = changed(service.rows), len(service.seen)
    assert run("apply", file, "--yes")[0] == 0
    assert changed(service.rows) == before
    assert {seen.method for seen in service.seen[writes:] if seen.path != "/oauth/token"} == {"GET"}


def test_what_was_applied_is_what_the_file_says(run, service, file):
    """References are the service's own ids, values are text, flags come to life only with their rules."""
    run("apply", file, "--yes")
    (goal,) = service.rows["goals"].values()
    segments = {row["name"]: row for row in service.rows["segments"].values()}
    conditions = segments["buyers"]["conditionsData"]["firstLevel"]
    assert conditions[0]["conditions"][0]["goalId"] == goal["id"]
    assert conditions[1]["conditions"][0]["segmentId"] == segments["phones"]["id"]
    assert segments["phones"]["conditionsData"]["firstLevelOrOperators"] == [True]
    flag = next(row for row in service.rows["feature-flags"].values() if row["featureKey"] == "checkout")
    (datum,) = service.rows["custom-datas"].values()
    assert flag["bucketingKey"] == {"bucketingKeyType": "CUSTOM_DATA", "customDataId": datum["id"]}
    assert {one["key"]: one["value"] for one in flag["variations"][1]["variables"]} == {
        "title": "Buy",
        "columns": "2.5",
        "layout": "[]",
        "fast": "true",
    }
    production, staging = flag["environmentConfigurations"]
    assert (production["featureEnabled"], staging["featureEnabled"]) == (False, True)
    loyal, spring = staging["rolloutRules"]
    assert (loyal["segmentId"], loyal["variationKey"], loyal["type"]) == (
        segments["buyers"]["id"],
        "on",
        "TARGETED_DELIVERY",
    )
    assert (spring["exposition"], [one["exposition"] for one in spring["trafficAllocations"]]) == (80, [50, 50])
    created = json.loads(service.to("POST", "/feature-flags")[0].body)
    assert not any(one["featureEnabled"] for one in created["environmentConfigurations"])


@pytest.mark.parametrize("fault", ["lose", "refuse"])
@pytest.mark.parametrize("place", [0, 3, 5, 7])
def test_an_apply_that_stops_anywhere_is_finished_by_the_next(run, service, file, place, fault, monkeypatch):
    """Whichever call fails, done or not, the next apply makes the rest; nothing is there twice, nothing is missing."""
    monkeypatch.setattr("kameleoon.api.caller.TRIES", 1)
    calls = [
        ("POST", "/custom-datas"), ("POST", "/goals"), ("POST", "/feature-flags"), ("POST", "/feature-flags"),
        ("POST", "/segments"), ("POST", "/segments"), ("PATCH", "/feature-flags/shop123456/checkout/production"),
        ("PATCH", "/feature-flags/shop123456/checkout/staging"), ("PATCH", "/feature-flags/shop123456/banner/production"),
        ("PATCH", "/feature-flags/shop123456/banner/staging"),
    ]  # fmt: skip
    earlier = [call for call in calls[:place] if call == calls[place]]
    service.routes["POST", "*"] = service.routes["PATCH", "*"] = flaky(service, calls[place], len(earlier), fault)
    code, _, err = run("apply", file, "--yes")
    assert code == 1
    assert f"{place} of 10 changes are done" in err
    service.routes["POST", "*"] = service.routes["PATCH", "*"] = service.any
    assert run("apply", file, "--yes")[0] == 0
    assert run("plan", file)[0] == 0
    counts = {name: len(rows) for name, rows in service.rows.items() if rows}
    assert counts == {"sites": 1, "goals": 1, "segments": 2, "custom-datas": 1, "feature-flags": 2}


def flaky(service, call, after, fault):
    """Fail one call of its kind, carried out (``lose``) or not."""
    from strict_service import Refused

    left = [after]

    def route(seen):
        if (seen.method, seen.path) == call:
            left[0] -= 1
            if left[0] == -1:
                if fault == "lose":
                    service.any(seen)
                raise Refused(500)
        return service.any(seen)

    return route


def test_a_change_keeps_rules_and_their_ids(run, service, file):
    """An edit touches only what it changes; rules keep ids and experiments."""
    run("apply", file, "--yes")
    before = copy.deepcopy(service.rows["feature-flags"])
    file.write_text(PROJECT.replace("exposition: 80%", "exposition: 90%").replace("title: Buy", "title: Buy now"))
    code, out, _ = run("plan", file)
    assert code == 3
    assert "rule spring: exposition: 80 -> 90" in out
    assert "0 to create" not in out
    assert "3 to update" in out
    assert run("apply", file, "--yes")[0] == 0
    for number, flag in service.rows["feature-flags"].items():
        for old, new in zip(
            before[number]["environmentConfigurations"], flag["environmentConfigurations"], strict=True
        ):
            assert [rule["id"] for rule in old["rolloutRules"]] == [rule["id"] for rule in new["rolloutRules"]]
            assert [rule["experimentId"] for rule in old["rolloutRules"]] == [
                rule["experimentId"] for rule in new["rolloutRules"]
            ]


LESS = """
project: {site_code: shop123456, name: Shop}
environments: [production, staging]
flags:
  checkout:
    name: Checkout
    variables: {title: string}
    variations: {off: {variables: {title: Cart}}, on: {name: New, variables: {title: Buy}}}
    rules: [{deliver: on, key: loyal}]
    environments: {staging: on, production: off}
"""


def test_nothing_is_deleted_unless_asked(run, service, file):
    """What the file does not have is named and stays, rules too; with --delete it goes, flags into the archive."""
    run("apply", file, "--yes")
    file.write_text(LESS)
    code, out, _ = run("apply", file, "--yes")
    assert code == 0
    for what in (
        "flag banner",
        "segment phones",
        "goal Order paid",
        "custom data plan",
        "rule spring of flag checkout in staging",
    ):
        assert f"left alone, not in the file: {what}" in out
    assert not [seen for seen in service.seen if seen.method == "DELETE"]
    flags = {flag["featureKey"]: flag for flag in service.rows["feature-flags"].values()}
    assert [rule["name"] for rule in flags["checkout"]["environmentConfigurations"][1]["rolloutRules"]] == [
        "loyal",
        "spring",
    ]
    assert run("apply", file, "--yes", "--delete")[0] == 0
    assert flags["banner"]["archived"]
    assert [rule["name"] for rule in flags["checkout"]["environmentConfigurations"][1]["rolloutRules"]] == ["loyal"]
    assert service.rows["goals"] == service.rows["custom-datas"] == {}
    assert all(row["isDeleted"] for row in service.rows["segments"].values())
    assert run("plan", file, "--delete")[0] == 0


def test_pulling_gives_a_file_that_changes_nothing(run, service, file, tmp_path):
    """What is pulled has the same meaning, with ids; planning it finds nothing, and visitors keep their variations."""
    run("apply", file, "--yes")
    pulled = tmp_path / "pulled.yaml"
    assert run("pull", "shop123456", "--output", pulled) == (0, "", "")
    assert run("plan", pulled) == (0, f"shop123456 at {service.url}\nnothing to do\n", "")
    project = parse_project(pulled.read_text())
    assert {flag.key for flag in project.flags} == {"checkout", "banner"}
    assert project.goals[0].key == "order_paid"
    again = tmp_path / "again.yaml"
    assert run("pull", "shop123456", "--output", again)[0] == 0
    assert again.read_text() == pulled.read_text()
    same = impact(project, parse_project(again.read_text()), "staging", list(generated_codes(50)), now_ms=0)
    assert not any(flag.changed for flag in same)
    code, out, err = run("pull", "shop123456", "--output", pulled)
    assert (code, out) == (2, "")
    assert "--force" in err


def test_what_has_no_form_in_a_file_is_named(run, service, file):
    """A segment that mixes AND and OR is left out with a reason, and so is what needs it; applying leaves both alone."""
    run("apply", file, "--yes")
    phones = next(row for row in service.rows["segments"].values() if row["name"] == "buyers")
    phones["conditionsData"]["firstLevel"] *= 2
    phones["conditionsData"]["firstLevelOrOperators"] = [True, False, True]
    code, out, err = run("pull", "shop123456")
    assert code == 0
    assert "left out: segment buyers: it mixes AND and OR" in err
    assert "left out: rule loyal of flag checkout in staging" in err
    assert "spring" in out


def test_machines_read_json(run, file):
    """--json writes one document with what is done and what is left."""
    code, out, _ = run("plan", file, "--json")
    assert (code, len(json.loads(out)["changes"])) == (3, 10)
    code, out, err = run("apply", file, "--json")
    assert (code, out) == (2, "")
    assert "--yes" in err
    code, out, _ = run("apply", file, "--json", "--yes")
    assert code == 0
    assert all(change["done"] for change in json.loads(out)["changes"])
    assert json.loads(run("pull", "shop123456", "--json")[1])["project"].startswith("project:")


def test_what_the_api_cannot_be_told_is_noted(run, file):
    """Holdout, exclusive groups, consent and draws are named rather than dropped in silence."""
    text = PROJECT.replace("name: Shop}", "name: Shop, consent: required}\nholdout: 5%")
    file.write_text(text.replace("banner: {", "banner: {exclusive_group: g, "))
    out = run("plan", file)[1]
    assert [line.split(":")[0] for line in out.splitlines() if "not applied" in line] == ["  note"] * 3


def test_a_conflict_stops_everything(run, service, file):
    """An index that differs cannot be changed, so nothing is."""
    service.add("custom-datas", name="plan", siteId=100, method="SDK", index=7, scope="VISITOR")
    code, out, err = run("apply", file, "--yes")
    assert (code, out) == (2, "")
    assert "custom data plan has the index 7 on the service, 1 in the file" in err
    assert not service.rows["goals"]


def test_wrong_credentials_change_nothing(run, file, monkeypatch):
    """Missing or wrong credentials, or no such site, end with code 2 and one line without the secret."""
    monkeypatch.setenv("KAMELEOON_CLIENT_SECRET", "hush-hush")
    code, out, err = run("apply", file, "--yes")
    assert (code, out) == (2, "")
    assert "credentials are refused" in err
    assert "hush-hush" not in err
    monkeypatch.delenv("KAMELEOON_CLIENT_SECRET")
    assert "KAMELEOON_CLIENT_SECRET missing" in run("plan", file)[2]
    monkeypatch.setenv("KAMELEOON_CLIENT_SECRET", "s3cr3t/+&")
    file.write_text(PROJECT.replace("shop123456", "other12345"))
    assert "no site 'other12345'" in run("plan", file)[2]


def test_a_service_that_is_down_is_no_half_plan(run, service, file, monkeypatch):
    """When reading fails nothing is changed, and the code says to try again."""
    monkeypatch.setattr("kameleoon.api.caller.TRIES", 1)
    service.fail("GET", "/segments", 503)
    code, out, err = run("apply", file, "--yes")
    assert (code, out) == (1, "")
    assert "nothing was changed" in err


AT_TERMINAL = """
import fcntl, signal, sys, termios
signal.signal(signal.SIGINT, signal.default_int_handler)  # a runner in the background may have it ignored
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl+C at this terminal is a signal to this process
from kameleoon.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 3), ("\n", 3), ("\x03", 3), ("\x04", 3)])
def test_a_person_is_asked_at_a_terminal(service, file, answer, code):
    """At a terminal the plan is shown and a yes is needed; anything else, Ctrl+C and Ctrl+D included, changes nothing."""
    theirs, ours = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", AT_TERMINAL, "apply", str(file), "--url", service.url],
        stdin=ours,
        stdout=ours,
        stderr=ours,
        start_new_session=True,
    ) as process:
        # A process that waits for ever would hold the test up for ever.
        watchdog = threading.Timer(20, process.kill)
        watchdog.start()
        os.close(ours)
        shown = b""
        while b"[y/N]" not in shown and (part := os.read(theirs, 4096)):
            shown += part
        os.write(theirs, answer.encode())
        while True:
            # A Ctrl+C between the prompt and the read behind it is only noted by the interpreter: then a person presses it again.
            while answer == "\x03" and not select.select([theirs], [], [], 3)[0]:
                os.write(theirs, answer.encode())
            try:
                part = os.read(theirs, 4096)
            except OSError:
                break
            if not part:
                break
            shown += part
        assert process.wait(20) == code, shown.decode()
        watchdog.cancel()
    os.close(theirs)
    assert b"+ flag checkout" in shown
    assert b"Traceback" not in shown
    assert bool(service.rows["feature-flags"]) == (code == 0)


def test_ctrl_c_between_two_changes_keeps_what_is_done(run, service, file):
    """An interrupt ends with code 1 and says how far it came; the next apply makes the rest."""

    def interrupted(seen):
        if seen.path == "/segments":
            os.kill(os.getpid(), signal.SIGINT)
        return service.any(seen)

    service.routes["POST", "*"] = interrupted
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code, _, err = run("apply", file, "--yes")
    finally:
        signal.signal(signal.SIGINT, before)
    assert code == 1
    assert "interrupted" in err
    assert "of 10 changes are done; run it again" in err
    service.routes["POST", "*"] = service.any
    assert run("apply", file, "--yes")[0] == 0
    assert run("plan", file)[0] == 0
    assert len(service.rows["segments"]) == 2
