"""Sources: the service, files, dictionaries, and objects of the application."""

import json
import os
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import pytest

from kameleoon._datafile.pieces import read_piece
from kameleoon._sources import FileSource, MappingSource, ServiceSource, make_source
from kameleoon._transport.configuration import Fetched
from kameleoon._transport.endpoints import Endpoints
from kameleoon._transport.flow import run
from kameleoon._transport.message import FetchFailed, Response
from kameleoon.exceptions import ConfigException

ROOT = {"featureFlags": [], "dateModified": 7}


class NoNetwork:
    """A sender that a source without a network never calls."""


def ask(source, known=None):
    """Ask *source*, which must not send anything."""
    return run(source.fetch(known, None), NoNetwork())


def write(path, text):
    """Write *text* so that the file's time is another one, however coarse the clock."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(before + 10**9, before + 10**9))


def test_the_service_is_asked_with_what_it_gave_itself():
    """A configuration of another source is not named in If-Modified-Since."""
    source = ServiceSource(Endpoints("s"), interval_s=3600, timeout_s=5, clock=lambda: 0.0)
    assert (source.name, source.interval_s) == ("service", 3600)
    for known, expected in [
        (Fetched(b"", ROOT, "service", last_modified="then"), "then"),
        (Fetched(b"", ROOT, "file x", last_modified="then"), None),
        (None, None),
    ]:
        flow = source.fetch(known, 42)
        request = next(flow)
        assert request.headers.get("If-Modified-Since") == expected
        assert request.url.endswith("?ts=42")
        with pytest.raises(StopIteration) as stop:
            flow.send(Response(200, {"content-type": "application/json"}, b'{"a": 1}'))
        assert stop.value.value.source_name == source.name


@pytest.mark.parametrize("name", ["c.json", "c.yaml", "c.yml", "C.YAML", "config"])
def test_a_file_is_read_once_for_each_version(tmp_path, name):
    """JSON, or YAML by its ending, is read at first and after a change, and not in between."""
    path = tmp_path / name
    source = FileSource(path)
    write(path, json.dumps(ROOT))
    first = ask(source)
    assert (first.root, json.loads(first.body), first.source_name) == (ROOT, ROOT, f"file {path}")
    assert ask(source, first) is None
    write(path, json.dumps({"dateModified": 8}))
    second = ask(source, first)
    assert second.root == {"dateModified": 8}
    assert ask(source, second) is None


def test_a_file_replaced_by_another_of_the_same_time_and_size(tmp_path):
    """Replacing by renaming is noticed by the inode."""
    path, other = tmp_path / "c.json", tmp_path / "new.json"
    path.write_text('{"a": 1}')
    other.write_text('{"a": 2}')
    for file in (path, other):
        os.utime(file, ns=(10**18, 10**18))
    source = FileSource(path)
    first = ask(source)
    other.replace(path)
    assert ask(source, first).root == {"a": 2}


def test_yaml_gives_what_json_would(tmp_path):
    """Comments, anchors and number keys end up as plain JSON."""
    path = tmp_path / "c.yaml"
    path.write_text("# flags\nshared: &s {x: 1.5}\nagain: *s\n31: on\n")
    fetched = ask(FileSource(path))
    assert fetched.root == {"shared": {"x": 1.5}, "again": {"x": 1.5}, "31": True}
    assert json.loads(fetched.body) == fetched.root


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("c.json", b'{\n "a": ,}', "line 2, column 7"),
        ("c.json", b"", "line 1, column 1"),
        ("c.json", b'{"a": "\xff"}', "byte 7"),
        ("c.json", b"{}", "object with members"),
        ("c.json", b"[1]", "object with members"),
        ("c.json", b"[" * 200_000, "nested"),
        ("c.yaml", b"a: 1\nb: [1,\n", "line 3, column 1"),
        ("c.yaml", b"a: 1\n b: 2\n", "line 2, column 3"),
        ("c.yaml", b"", "object with members"),
        ("c.yaml", b"- 1", "object with members"),
        ("c.yaml", b"a: 2020-01-01", "no form"),
        ("c.yaml", b"a: .nan", "no form"),
        ("c.yaml", b"&a {x: *a}", "no form"),
        ("c.yaml", b"a: \xff", "not YAML"),
        ("c.yaml", b"a: !!python/object:os.system {}", "line 1, column 4"),
        ("c.yaml", b"a: !!bool maybe", "does not fit its tag"),
        ("c.yaml", b"a: !!int ''", "does not fit its tag"),
        ("c.yaml", b"a: !!timestamp never", "does not fit its tag"),
        ("c.yaml", b"[" * 2_000, "nested"),
    ],
)
def test_a_broken_file_is_named_with_the_place(tmp_path, name, content, place):
    """What cannot be read raises with the file and where in it, once read and again when asked again."""
    path = tmp_path / name
    path.write_bytes(content)
    source = FileSource(path)
    for _ in range(2):
        with pytest.raises(FetchFailed) as caught:
            ask(source)
        assert str(path) in caught.value.reason
        assert place in caught.value.reason


def test_a_broken_version_is_read_once_and_then_forgotten(tmp_path):
    """After a broken version the next good one counts, and going back to what is known is nothing new."""
    path = tmp_path / "c.json"
    source = FileSource(path)
    write(path, json.dumps(ROOT))
    good = ask(source)
    stamp = path.stat().st_mtime_ns
    write(path, "{")
    with pytest.raises(FetchFailed):
        ask(source, good)
    broken = path.stat()
    # Same time, size and inode: the content is not looked at again.
    path.write_text("[")
    os.utime(path, ns=(broken.st_mtime_ns, broken.st_mtime_ns))
    with pytest.raises(FetchFailed, match="Expecting property name"):
        ask(source, good)
    path.write_text(json.dumps(ROOT))
    os.utime(path, ns=(stamp, stamp))
    assert ask(source, good) is None
    write(path, '{"a": 1}')
    assert ask(source, good).root == {"a": 1}


def test_a_missing_file_may_come_later(tmp_path):
    """A file that is not there, or is a directory, fails by name until it is there."""
    path = tmp_path / "c.json"
    source = FileSource(path)
    with pytest.raises(FetchFailed, match=r"c\.json: No such file"):
        ask(source)
    path.mkdir()
    with pytest.raises(FetchFailed, match=r"c\.json: "):
        ask(source)
    path.rmdir()
    write(path, '{"a": 1}')
    assert ask(source).root == {"a": 1}


def test_a_configuration_of_another_file_is_not_mistaken(tmp_path):
    """What another source gave does not count as known."""
    path = tmp_path / "c.json"
    write(path, '{"a": 1}')
    source = FileSource(path)
    first = ask(source)
    other = Fetched(b"", ROOT, "service", revision=first.revision)
    assert ask(source, other).root == {"a": 1}


def test_a_dictionary_is_copied_and_given_once():
    """Later changes to the dictionary have no effect, and there is never anything newer."""
    mapping = {"featureFlags": [{"id": 1}]}
    source = MappingSource(mapping)
    mapping["featureFlags"].clear()
    fetched = ask(source)
    assert json.loads(fetched.body) == {"featureFlags": [{"id": 1}]}
    assert [read_piece(piece) for piece in fetched.root["featureFlags"]] == [{"id": 1}]
    assert ask(source, fetched) is None
    assert source.interval_s is None


def test_other_mappings_will_do():
    """Read-only mappings, nested ones too, are taken like dictionaries."""
    assert ask(MappingSource(MappingProxyType({"a": MappingProxyType({"b": (1,)})}))).root == {"a": {"b": [1]}}


@pytest.mark.parametrize("mapping", [{}, {"a": object()}, {"a": float("nan")}, {"a": {1, 2}}, {(1, 2): 3}])
def test_a_dictionary_that_is_no_configuration_is_refused(mapping):
    """What is empty or cannot be JSON is refused when the client is built."""
    with pytest.raises(ConfigException, match="source"):
        make_source(mapping, service=None)


def test_each_kind_of_setting_gives_its_source(tmp_path):
    """None, paths, mappings and sources."""
    service = ServiceSource(Endpoints("s"), interval_s=60, timeout_s=5)
    own = SimpleNamespace(name="own", interval_s=5.0, fetch=lambda known, ts: iter(()))  # noqa: ARG005 - a stand-in
    assert make_source(None, service=service) is service
    assert make_source(own, service=service) is own
    assert make_source(str(tmp_path / "a.json"), service=service).name == f"file {tmp_path / 'a.json'}"
    assert isinstance(make_source(Path("a.yaml"), service=service), FileSource)
    assert isinstance(make_source({"a": 1}, service=service), MappingSource)


@pytest.mark.parametrize(
    "value", [7, "", b"a.json", [], True, FileSource, SimpleNamespace(fetch=print), SimpleNamespace(fetch=1)]
)
def test_anything_else_names_what_is_allowed(value):
    """A setting of another type is refused with the list of what is allowed."""
    with pytest.raises(ConfigException, match="path of a JSON or YAML file, a dictionary"):
        make_source(value, service=None)
