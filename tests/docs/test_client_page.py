"""The page about the client names what there is."""

import inspect
import re
from pathlib import Path

from kameleoon import KameleoonClient, KameleoonClientConfig, KameleoonClientFactory

PAGE = (Path(__file__).parents[2] / "docs" / "client.md").read_text()


def test_every_method_named_exists():
    """What the page calls with parentheses, or lists as deprecated, is there."""
    named = set(re.findall(r"`(?:client\.)?([a-z_]+)(?:\([^`]*\))?`", PAGE))
    settings = set(inspect.signature(KameleoonClientConfig.__init__).parameters)
    others = {"create", "forget", "timeout", "is_unique_identifier", "multiprocessing", "with", "get_remote_", "_async"}
    known = {name for name in dir(KameleoonClient) if not name.startswith("_")} | settings | others
    assert named - known == set()


def test_every_setting_shown_exists():
    """Settings of the table, with their values, are accepted."""
    settings = inspect.signature(KameleoonClientConfig.__init__).parameters
    for name in re.findall(r"^\| `([a-z_]+)=", PAGE, re.MULTILINE):
        assert name in settings


def test_the_first_example_runs(monkeypatch):
    """The example works against a client that has a configuration."""
    given = KameleoonClientConfig(source={"featureFlags": []}, top_level_domain="localhost")
    (example,) = re.findall(r"```python\n(from kameleoon.*?)```", PAGE, re.DOTALL)
    monkeypatch.setattr("kameleoon.KameleoonClientConfig", lambda *_, **__: given)
    with_flag = example.replace('"new_checkout"', "flag")
    try:
        names = {"flag": "new_checkout"}
        monkeypatch.setattr(KameleoonClient, "is_feature_active", lambda *_: True)
        exec(compile(with_flag, "docs/client.md", "exec"), names)
        assert len(names["code"]) == 16
    finally:
        KameleoonClientFactory.forget("my-site-code")
