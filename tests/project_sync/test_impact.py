"""What a change does to visitors, by the engine itself."""

import json

import pytest

from kameleoon.__main__ import main
from kameleoon.project_sync.impact import generated_codes, impact
from kameleoon.server.project_file import parse_project

CODES = list(generated_codes(4000))


def project(*flags, extra=""):
    """A project of flags written as YAML."""
    lines = "\n".join(f"  {flag}" for flag in flags)
    return parse_project(f"project: {{site_code: shop123456}}\n{extra}\nflags:\n{lines}\n")


def compare(before, after):
    """The impact on the only flag."""
    (found,) = impact(project(before), project(after), "production", CODES, now_ms=0)
    return found


def test_nothing_changes_nothing():
    """Two equal versions move nobody."""
    same = "f: {rules: [{experiment: [off, on], key: a}]}"
    assert compare(same, same).changed == 0


def test_a_wider_rule_moves_nobody_who_was_in():
    """More exposition brings visitors in and takes none out or over."""
    found = compare(
        "f: {rules: [{experiment: [off, on], key: a, exposition: 20%}]}",
        "f: {rules: [{experiment: [off, on], key: a, exposition: 60%}]}",
    )
    assert set(found.reasons) == {"newly targeted"}
    assert set(found.moves) == {("off", "on")}
    assert 0.16 < found.changed / len(CODES) < 0.24


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("{rules: [{deliver: on, key: a}]}", "{}", "no longer targeted"),
        ("{}", "{rules: [{deliver: on, key: a}]}", "newly targeted"),
        ("{}", "{default: on}", "other default"),
        ("{rules: [{deliver: on, key: a}]}", "{rules: [{deliver: off, key: a}]}", "rule gives another variation"),
        ("{rules: [{deliver: on, key: a}]}", "{rules: [{deliver: off, key: b}]}", "another rule"),
        ("{rules: [{deliver: on}]}", "{rules: [{deliver: on}], environments: {production: off}}", "switched off"),
        ("{environments: {production: off}}", "{}", "switched on"),
    ],
)
def test_each_reason_is_named(before, after, reason):
    """A change of everybody's variation has one reason, the right one."""
    found = compare(f"f: {before}", f"f: {after}")
    assert found.reasons == {reason: len(CODES)}


@pytest.mark.parametrize(("now_ms", "changed"), [(59_999, 0), (60_000, len(CODES))])
def test_a_rule_counts_in_its_window(now_ms, changed):
    """A rule whose window is not open moves nobody."""
    with_window = project("f: {rules: [{deliver: on, release: {from: 1970-01-01 00:01}}]}")
    (found,) = impact(project("f: {}"), with_window, "production", CODES, now_ms=now_ms)
    assert found.changed == changed


def test_other_shares_and_a_respool_draw_anew():
    """Another division of the same rule, or a new draw, is re-bucketing."""
    before = "f: {rules: [{experiment: {off: 50%, on: 50%}, key: a}]}"
    wider = compare(before, "f: {rules: [{experiment: {off: 30%, on: 70%}, key: a}]}")
    assert set(wider.reasons) == {"re-bucketed"}
    assert set(wider.moves) == {("off", "on")}
    drawn = compare(before, "f: {rules: [{experiment: {off: 50%, on: 50%}, key: a, respool_time: 5}]}")
    assert set(drawn.reasons) == {"re-bucketed"}
    assert 0.45 < drawn.changed / len(CODES) < 0.55


def test_flags_that_come_and_go():
    """A flag of one version only changes for everybody."""
    gone, come = impact(project("a: {}"), project("b: {}"), "production", CODES[:5], now_ms=0)
    assert (gone.reasons, gone.moves) == ({"flag removed": 5}, {("off", None): 5})
    assert (come.reasons, come.moves) == ({"flag added": 5}, {(None, "off"): 5})


@pytest.fixture
def files(tmp_path):
    """Two versions as files."""
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    text = "project: {site_code: shop123456}\nflags:\n  checkout: {rules: [{deliver: on, exposition: 50%, key: a}]}\n  b: {}\n"
    old.write_text(text)
    new.write_text(text.replace("50%", "100%"))
    return old, new, tmp_path


def test_the_command_reads_codes_and_writes_for_people_and_machines(files, capsys):
    """The command counts each code of a file once, and says the same as text and as JSON."""
    old, new, folder = files
    (folder / "codes.txt").write_text("\n".join(CODES[:100]) + "\n\n" + CODES[0] + "\n", encoding="utf-8")
    command = ["impact", str(old), str(new), "--visitors", str(folder / "codes.txt")]
    assert main([*command, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["visitors"], said["generated"], said["environment"]) == (100, False, "production")
    changed = said["flags"][0]["changed"]
    assert 25 < changed < 75
    assert main(command) == 0
    text = capsys.readouterr().out
    assert f"checkout: {changed} get another variation ({changed}.00%)" in text
    assert "1 of 2 flags unchanged" in text


def test_generated_codes_are_the_same_in_every_run(files, capsys):
    """Two runs say the same."""
    old, new, _ = files
    said = []
    for _ in range(2):
        assert main(["impact", str(old), str(new), "--generate", "500"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert "500 generated codes" in said[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.yaml", "new.yaml"], "cannot be read"),
        (["old.yaml", "new.yaml", "--environment", "moon"], "has no environment 'moon'"),
        (["old.yaml", "new.yaml", "--visitors", "missing.txt"], "cannot be read"),
        (["old.yaml", "new.yaml", "--visitors", "empty.txt"], "has no visitor code"),
        (["old.yaml", "new.yaml", "--visitors", "long.txt"], "long.txt:2: a visitor code is 1 to 255"),
        (["old.yaml", "new.yaml", "--visitors", "bytes.txt"], "cannot be read"),
        (["old.yaml", "new.yaml", "--generate", "0"], "not a whole number"),
        (["old.yaml", "new.yaml", "--visitors", "x", "--generate", "5"], "not allowed with"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(files, monkeypatch, capsys, arguments, said):
    """Mistakes end with code 2 and a line on standard error."""
    monkeypatch.chdir(files[2])
    (files[2] / "empty.txt").write_text("\n")
    (files[2] / "long.txt").write_text("a\n" + "x" * 256 + "\n")
    (files[2] / "bytes.txt").write_bytes(b"\xff\xfe")
    assert main(["impact", *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
