"""The page about Convert, run as it stands against a strict service."""

import contextlib
import functools
import io
import re
from pathlib import Path

import pytest
from strict_convert import StrictConvert

from kameleoon import KameleoonClient, KameleoonClientConfig, KameleoonClientFactory
from kameleoon.exceptions import ConfigException
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


@pytest.fixture
def in_file(tmp_path, monkeypatch):
    """A configuration of the page's settings file with something changed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONVERT_SECRET", "the key's secret")
    (content,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)

    def make(*changes):
        text = content
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        Path("client.yaml").write_text(f"top_level_domain: localhost\n{text}")
        return KameleoonClientConfig.read_from_yaml("client.yaml")

    return make


def test_the_settings_file_works(shop, in_file):
    """It fetches the project of its environment, with its secret."""
    with StrictConvert(shop(), secret="the key's secret") as service:
        where = f"  environment: production\n  base_url: {service.url}\n  tracking_base_url: {service.url}"
        with KameleoonClient("shop", in_file(("  environment: production", where))) as client:
            assert client.wait_init(5000)
            assert client.is_feature_active("visitor-1", "checkout")
        assert service.seen[0][1] == "/config/1001/2002?environment=production"
        assert service.refused == []


def test_messages_on_the_page(in_file):
    """What cannot be used is refused with the text that the page shows."""
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    for line, change in zip(
        shown.splitlines(), [("  environment: production", "  interval_s: often"), ("sdk_key", "sdkkey")], strict=True
    ):
        with pytest.raises(ConfigException) as refused:
            KameleoonClient("shop", in_file(change))
        assert str(refused.value) == line
