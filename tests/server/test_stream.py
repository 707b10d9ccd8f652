"""The event stream and the project file: a change reaches whoever listens, and a broken file harms nobody."""

import asyncio
import json
import os
import queue
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from kameleoon.server import watch as watch_module
from kameleoon.server.project_file import parse_project
from kameleoon.server.serve import LocalServer
from kameleoon.server.service import Service
from kameleoon.server.site import Site
from kameleoon.server.storage import Storage

PROJECT = """\
project: {site_code: shop123456, streaming: true}
environments: [production, staging]
segments: {phones: {device: phone}}
flags:
  checkout:
    rules: [{deliver: on, exposition: 10%}]
    environments: {production: on, staging: {enabled: on, default: on, rules: [{deliver: off, to: phones}]}}
"""


class Listener:
    """A client of the stream; lines arrive in `lines`."""

    def __init__(self, server):
        self.answer = requests.get(f"{server.url}/sse?siteCode=shop123456", stream=True, timeout=(5, 10))
        self.lines = queue.Queue()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.answer.iter_lines(chunk_size=1, decode_unicode=True):
            self.lines.put((time.monotonic(), line))
        self.lines.put((time.monotonic(), None))

    def next(self, timeout=5):
        """The next line that is not blank, with its time."""
        while True:
            moment, line = self.lines.get(timeout=timeout)
            if line != "":
                return moment, line


def configuration(server, environment="production"):
    """The flag in an environment."""
    answer = requests.get(f"{server.url}/v3/shop123456?environment={environment}", timeout=5).json()
    return answer["configuration"]["realTimeUpdate"], answer["featureFlags"][0]


def test_a_change_reaches_a_listener_at_once():
    """Each change is one event with its time, within a second; the configuration is new by then."""
    with LocalServer(parse_project(PROJECT)) as server:
        listener = Listener(server)
        assert listener.answer.headers["Content-Type"].startswith("text/event-stream")
        assert listener.next()[1] == ": open"
        for exposition in (20, 30):
            changed = time.monotonic()
            server.publish(parse_project(PROJECT.replace("10%", f"{exposition}%")))
            arrived, event = listener.next()
            assert event == "event: configuration-update-event"
            assert arrived - changed < 1
            field, _, data = listener.next()[1].partition(": ")
            assert field == "data"
            assert abs(json.loads(data)["ts"] - time.time() * 1000) < 5000
            assert configuration(server)[1]["rules"][0]["exposition"] == exposition / 100
        server.publish(server.project)
        server.publish(replace(server.project, name="x"))
        assert listener.next()[1] == "event: configuration-update-event"
        assert listener.next()[1].startswith("data: ")
        began = time.monotonic()
    assert time.monotonic() - began < 1.5, "an open stream holds up the end"
    assert listener.next()[1] is None


def test_an_idle_stream_has_comments():
    """Whoever listens hears something even when nothing changes."""
    service_of = Service.__init__

    def impatient(self, *arguments, **named):
        service_of(self, *arguments, **named, keep_alive_s=0.05)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Service, "__init__", impatient)
        with LocalServer(parse_project(PROJECT)) as server:
            listener = Listener(server)
            assert [listener.next()[1] for _ in range(3)] == [": open", ": still here", ": still here"]


def test_other_site_codes_have_no_stream():
    """A stream needs the site code of the project."""
    with LocalServer(parse_project(PROJECT)) as server:
        assert requests.get(f"{server.url}/sse", timeout=5).status_code == 400
        assert requests.get(f"{server.url}/sse?siteCode=other", timeout=5).status_code == 404


def test_environments_have_rules_and_defaults_of_their_own():
    """An environment's own rules and default stand in place of the flag's; paused rules are not given out."""
    with LocalServer(parse_project(PROJECT)) as server:
        is_streaming, production = configuration(server)
        _, staging = configuration(server, "staging")
        assert is_streaming is True
        assert (production["defaultVariationKey"], staging["defaultVariationKey"]) == ("off", "on")
        assert production["rules"][0]["exposition"] == 0.1
        assert [rule["variationByExposition"][0]["variationKey"] for rule in staging["rules"]] == ["off"]
        assert production["rules"][0]["id"] != staging["rules"][0]["id"]
        server.publish(parse_project(PROJECT.replace("exposition: 10%", "paused: true")))
        assert configuration(server)[1]["rules"] == []


def test_a_saved_file_is_served_and_a_broken_one_is_not(tmp_path):
    """A saved project file reaches listeners within two seconds; a broken one changes nothing, and its mend is served again."""
    path = Path(tmp_path) / "shop.yaml"
    path.write_text(PROJECT)
    with LocalServer(path, watch_file=True) as server:
        listener = Listener(server)
        listener.next()
        path.write_text(PROJECT.replace("10%", "20%"))
        saved = time.monotonic()
        arrived, event = listener.next()
        assert (event, arrived - saved < 2) == ("event: configuration-update-event", True)
        assert listener.next()[1].startswith("data")
        path.write_text("project: {site_code: shop123456}\nflags: {checkout: {default: of}}\n")
        deadline = time.monotonic() + 5
        while server._running().main.file_error is None and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        assert "did you mean 'off'" in str(server._running().main.file_error)
        assert configuration(server)[1]["rules"][0]["exposition"] == 0.2
        other = path.with_suffix(".new")
        other.write_text(PROJECT.replace("10%", "40%"))
        other.replace(path)
        assert listener.next()[1] == "event: configuration-update-event"
        assert server._running().main.file_error is None
        assert configuration(server)[1]["rules"][0]["exposition"] == 0.4
        assert listener.next()[1].startswith("data")
        # As many bytes as before: the time of the file tells that it is another version.
        path.write_text(PROJECT.replace("10%", "50%"))
        assert listener.next()[1] == "event: configuration-update-event"
        assert configuration(server)[1]["rules"][0]["exposition"] == 0.5


def test_a_version_is_read_once(tmp_path):
    """A file that stays as it is is not read again, whether it can be used or not."""
    path = tmp_path / "shop.yaml"
    path.write_text(PROJECT)
    seen, state = [], watch_module._state

    async def look():
        looks, often = 0, asyncio.Event()

        def counted(path):
            nonlocal looks
            looks += 1
            if looks % 5 == 0:
                often.set()
            return state(path)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(watch_module, "INTERVAL_S", 0)
            patch.setattr(watch_module, "_state", counted)
            watching = asyncio.create_task(watch_module.watch(path, seen.append, seen.append))
            for text in (None, "nonsense: [", PROJECT):
                if text is not None:
                    path.write_text(text)
                    os.utime(path, (len(seen), len(seen)))
                for _ in range(2):
                    often.clear()
                    await often.wait()
            watching.cancel()

    asyncio.run(look())
    assert [type(one).__name__ for one in seen] == ["Project", "ProjectError", "Project"]


def test_changes_are_kept_until_the_file_says_something_new(tmp_path):
    """What was changed holds at the next start; a file that was edited in the meantime wins. The history has all of it."""
    first, second = parse_project(PROJECT), parse_project(PROJECT.replace("10%", "20%"))
    for given, found in ((first, first), (first, replace(first, name="changed")), (second, second)):
        storage = Storage(tmp_path / "events.sqlite")
        site = Site(given, storage)
        assert site.published.project == found
        site.publish(replace(found, name="changed"), author="page")
        assert site.publish_file(given) == []
        assert site.published.project.name == "changed"
        history = [(change.author, change.flag, change.said) for change in storage.changes(given.site_code)]
        assert history[0] == ("page", None, "name: (none) → changed")
        storage.close()
    storage = Storage(tmp_path / "events.sqlite")
    site = Site(second, storage)
    assert site.publish_file(first)
    assert site.published.project == first
    assert [(change.author, change.flag, change.said) for change in storage.changes(second.site_code, "checkout")] == [
        ("project file", "checkout", "rule deliver_on: exposition 20% → 10%")
    ]
    storage.close()
