"""The page about extending the client, run as it stands."""

import contextlib
import io
import json
import re
import sys
from pathlib import Path

from kameleoon import KameleoonClient, KameleoonClientConfig

sys.path.insert(0, str(Path(__file__).parents[1] / "transport"))
from scripted import Scripted, reply

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
FLAG = {
    "featureKey": "greeting",
    "environmentEnabled": True,
    "defaultVariationKey": "hello",
    "rules": [],
    "variations": [{"key": "hello", "name": "Hello", "variables": []}],
}
ROOT = json.dumps({"dateModified": 1, "featureFlags": [FLAG]}).encode()


def example(heading):
    """The code of one section, of at most 40 lines."""
    code = re.search(rf"^## {heading}$.*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE).group(1)
    assert len([line for line in code.splitlines() if line.strip()]) <= 40
    return code


def test_a_source_of_configuration(tmp_path):
    """It gives a configuration, nothing when that is the newest, and with a data directory the last good one when it is gone."""
    etag = '"7"'

    def answer(visit):
        is_known = visit.seen.headers.get("if-none-match") == etag
        return (reply(304, ETag=etag) if is_known else reply(200, ROOT, ETag=etag))(visit)

    output = io.StringIO()
    names = {}
    with Scripted({"/flags.json": answer}) as bucket:
        code = example("A source of configuration").replace("http://127.0.0.1:8000", bucket.url)
        with contextlib.redirect_stdout(output):
            exec(compile(code, "docs/extending.md", "exec"), names)
        source = names["BucketSource"](f"{bucket.url}/flags.json")
        with KameleoonClient("site", KameleoonClientConfig(source=source, data_dir=tmp_path)) as client:
            assert client.wait_init(2000)
            assert client._core.run(client._core.configuration.refresh(announced=True))
            assert client._core.configuration.failure is None
        assert [seen.headers.get("if-none-match") for seen in bucket.seen] == [None, None, etag]
    assert output.getvalue() == "True hello\n"
    (kept,) = tmp_path.glob("configuration-*.json")
    header, _, body = kept.read_bytes().partition(b"\n")
    kept.write_bytes(json.dumps({**json.loads(header), "asked_s": 0.0}).encode() + b"\n" + body)
    with KameleoonClient("site", KameleoonClientConfig(source=source, data_dir=tmp_path)) as client:
        assert client.wait_init(2000)
        assert client.get_variation("visitor-1", "greeting").key == "hello"


def test_a_destination():
    """It is told of what it wants, in its own form and within its limits; what it refuses goes nowhere."""
    output = io.StringIO()
    with Scripted({"/postings": reply(204)}) as bookkeeper:
        code = example("A destination").replace("http://127.0.0.1:8000", bookkeeper.url)
        with contextlib.redirect_stdout(output):
            exec(compile(code, "docs/extending.md", "exec"), {})
        bodies = [seen.body.decode().split("\n") for seen in bookkeeper.seen]
        assert [[line.split()[1:] for line in lines] for lines in bodies] == [
            [["visitor-1", "4990"], ["visitor-1", "750"]], [["visitor-1", "1200"]]
        ]  # fmt: skip
        assert {seen.headers["x-key"] for seen in bookkeeper.seen} == {"secret"}
    assert output.getvalue() == "FlushResult(sent=3, pending=0, dropped=1, destinations={})\n"
