"""The page on destinations tells the truth: its examples were run."""

import re
import sys
import threading
from pathlib import Path

import pytest

from kameleoon import KameleoonClient, KameleoonClientConfig, __version__
from kameleoon.exceptions import ConfigException

PAGE = (Path(__file__).parents[2] / "docs" / "destinations.md").read_text(encoding="utf-8")


def blocks(language):
    """The page's examples in *language*."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


def test_use_in_code(capsys, tmp_path, monkeypatch):
    """The example prints what the page shows, and leaves no thread."""
    monkeypatch.chdir(tmp_path)
    example, shown = blocks("python")[0], blocks("text")[0]
    exec(compile(example, "destinations.md", "exec"), {})
    assert capsys.readouterr().out == shown
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 3
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("kameleoon")]


def test_commanders_act_in_code(capsys):
    """The second example prints what the page shows."""
    exec(compile(blocks("python")[1], "destinations.md", "exec"), {})
    assert capsys.readouterr().out == blocks("text")[2].replace("VERSION", __version__)


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The page's settings file, as ``client.yaml`` in the working directory, for a client without network."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "events.py").write_text("def take(events): pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COMMANDERS_ACT_KEY", "k-e-y")
    monkeypatch.setenv("SHOP_HOOK_SECRET", "h-o-o-k")

    def write(*changes):
        (content,) = blocks("yaml")
        for old, new in [("/var/log/shop/", ""), *changes]:
            content = content.replace(old, new)
        Path("client.yaml").write_text(content + "source: flags.json\n")
        Path("flags.json").write_text("{}")
        return KameleoonClientConfig.read_from_yaml("client.yaml")

    yield write
    # The application that the page names must not stand for another test's.
    for name in ("shop", "shop.events"):
        sys.modules.pop(name, None)


def test_use_in_a_settings_file(file):
    """The example makes four destinations, and shows no secret."""
    config = file()
    with KameleoonClient("site", config) as client:
        assert list(client.stats().destinations) == [
            "file events.jsonl", "warehouse", "commanders act 1234", "function"
        ]  # fmt: skip
        feeds = client._core._feeds
    assert (feeds[1].consent, feeds[1].most_events, feeds[0].consent) == ("given", 50_000, "required")
    shown = f"{config!r} {config.freeze()!r} {client!r} {feeds!r}"
    assert "k-e-y" not in shown
    assert "h-o-o-k" not in shown


def test_messages_on_the_page(file, monkeypatch):
    """What cannot be used is refused with the text that the page shows."""
    lines = blocks("text")[1].splitlines()
    with pytest.raises(ConfigException) as refused:
        KameleoonClient("site", file(("keep: 3", "keep: 0")))
    assert str(refused.value) == lines[0]
    monkeypatch.delenv("SHOP_HOOK_SECRET")
    with pytest.raises(ConfigException) as refused:
        KameleoonClient("site", file())
    assert str(refused.value) == lines[1]
