"""The page on flags as code tells the truth: what it shows was run."""

import re
from pathlib import Path

from kameleoon.__main__ import main

PAGE = (Path(__file__).parents[2] / "docs" / "flags-as-code.md").read_text(encoding="utf-8")
OLD = """project: {site_code: shop123456}
flags:
  checkout:
    rules:
      - {experiment: [off, on], exposition: 50%, key: spring_test}
  banner:
    rules: [{deliver: on}]
"""


def test_the_impact_on_the_page_is_what_is_printed(tmp_path, capsys):
    """The example gives these figures."""
    (tmp_path / "old.yaml").write_text(OLD)
    (tmp_path / "new.yaml").write_text(OLD.replace("50%", "80%"))
    assert main(["impact", str(tmp_path / "old.yaml"), str(tmp_path / "new.yaml")]) == 0
    shown = re.search(r"\$ kameleoon impact .*\n((?:    .*\n)+)", PAGE).group(1)
    assert "".join(f"    {line}\n" for line in capsys.readouterr().out.splitlines()) == shown


def test_the_plan_on_the_page_is_what_is_printed(run, tmp_path):
    """The example of a plan is one that was made."""
    file = tmp_path / "project.yaml"
    text = """project: {site_code: shop123456}
environments: [production, staging]
flags:
  checkout:
    rules: [{experiment: [off, on], exposition: 80%, key: spring}]
    environments: {staging: {rules: [{experiment: [off, on], exposition: 80%, key: spring}]}}
"""
    file.write_text(text + "  banner: {}\n")
    assert run("apply", file, "--yes")[0] == 0
    file.write_text(text.replace("80%, key: spring}]}", "90%, key: spring}]}"))
    shown = re.search(r"    shop123456 at .*\n((?:    .*\n)+)", PAGE).group(1)
    out = run("plan", file)[1].split("\n", 1)[1]
    assert "".join(f"    {line}\n" for line in out.splitlines()) == shown
