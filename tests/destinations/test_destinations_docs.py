"""The page on destinations tells the truth: its example was run."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "destinations.md").read_text(encoding="utf-8")


def test_the_destination_of_ones_own(capsys):
    """The example fits in 40 lines and prints what the page shows."""
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    (shown,) = re.findall(r"^```text\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    assert len(example.splitlines()) <= 40
    exec(compile(example, "destinations.md", "exec"), {})
    assert capsys.readouterr().out == shown
