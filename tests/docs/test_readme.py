"""The README's example, run as it stands."""

import contextlib
import io
import re
from pathlib import Path

from kameleoon import KameleoonClientFactory
from kameleoon.server.serve import LocalServer

ROOT = Path(__file__).parents[2]


def test_the_example_runs_against_the_sample_project():
    """The example prints a flag, a variation and what was sent, and the local server has the conversion."""
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
    assert len([line for line in example.splitlines() if line.strip()]) <= 15
    output = io.StringIO()
    with LocalServer(ROOT / "sample-config" / "demo-project.yaml") as server, contextlib.redirect_stdout(output):
        try:
            exec(compile(example.replace("http://127.0.0.1:8085", server.url), "README.md", "exec"), {})
        finally:
            KameleoonClientFactory.forget("demoshop01")
        conversions = [event for event in server.events() if event.type == "conversion"]
    assert "free shipping: True" in output.getvalue()
    assert re.search(r"checkout: (classic|one_page|express) with the title \w+", output.getvalue())
    assert "pending=0, dropped=0" in output.getvalue()
    assert len(conversions) == 1


def test_the_table_counts_the_recorded_cases():
    """The number of recorded cases in the README is that of the files."""
    import json

    cases = sum(len(json.loads(path.read_text())["cases"]) for path in (ROOT / "tests" / "vectors").glob("*.json"))
    assert f"all {cases:,} recorded cases" in (ROOT / "README.md").read_text()
