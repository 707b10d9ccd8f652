"""The page about Convert, run as it stands against a strict service."""

import contextlib
import functools
import io
import re
from pathlib import Path

from strict_convert import StrictConvert

from kameleoon import KameleoonClientFactory
from kameleoon.sources import ConvertSource

PAGE = (Path(__file__).parents[2] / "docs" / "convert.md").read_text()


def test_the_example_runs(shop, rule, monkeypatch):
    """It is ready, and prints the variable of the variation that the visitor gets."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    root = shop()
    root["audiences"][1]["rules"] = rule("tier", "equals", "gold")
    output = io.StringIO()
    with StrictConvert(root, secret="the key's secret") as service:
        here = functools.partial(ConvertSource, base_url=service.url, tracking_base_url=service.url)
        monkeypatch.setattr("kameleoon.sources.ConvertSource", here)
        try:
            with contextlib.redirect_stdout(output):
                exec(compile(example, "docs/convert.md", "exec"), {})
        finally:
            KameleoonClientFactory.forget("shop")
        assert service.seen[0][1] == "/config/1001/2002?environment=production"
        assert service.refused == []
    assert output.getvalue() == "Rest\n"
