"""Bulk jobs: bad items are named, interrupted jobs go on, nothing is lost and nothing is done twice."""

import json

import pytest
from strict_service import Refused

from kameleoon.api import bulk
from kameleoon.api.bulk import BulkStopped, Conversion, ResumeMismatch
from kameleoon.api.data import AsyncDataApi, DataApi
from kameleoon.api.journal import Journal

SITE = "shop123456"


@pytest.fixture
def api(data_service, hasty):
    """A client whose retries do not wait."""
    with DataApi(SITE, base_url=data_service.url) as client:
        hasty(client)
        yield client


@pytest.fixture
def small_batches(monkeypatch):
    """Let a handful of items fill a request."""
    monkeypatch.setattr(bulk, "EVENT_BYTES", 500)
    monkeypatch.setattr(bulk, "MEMBER_BYTES", 60)


def rows(count):
    """Conversions that differ."""
    return [Conversion(f"u-{number}", 501, revenue=number) for number in range(count)]


def test_a_csv_with_bad_rows_is_imported_without_them(api, data_service, tmp_path):
    """Good rows are sent, each bad one is reported with its line and reason."""
    path = tmp_path / "orders.csv"
    path.write_bytes(
        b"\xef\xbb\xbfvisitor_code,goal_id,revenue,negative,metadata\r\n"
        b"u-1,501,49.90,,\r\n"
        b"u-2,abc,1,,\r\n"
        b'"u,3",501,,yes,"{""3"": [""gold""]}"\r\n'
        b"u-4,501,12 EUR,,\r\n"
        b",501,1,,\r\n"
        b"u-6,501,nan,,\r\n"
        b"\r\n"
        b"u-7,501\r\n"
        b"u-\xff,501,1,,\r\n"
        b"u-9,501,1,perhaps,\r\n"
        b"u-10,501,1,,[]\r\n"
        b"u-11,501,1_0,,\r\n"
        b"u-12,502,5,false,\r\n"
    )
    report = api.import_conversions(path)
    assert [(event["visitorCode"], event["goalId"], event["revenue"]) for event in data_service.events.values()] == [
        ("u-1", "501", "49.9"),
        ("u,3", "501", "0.0"),
        ("u-12", "502", "5.0"),
    ]
    assert [refusal.place for refusal in report.refused] == [3, 5, 6, 7, 9, 10, 11, 12, 13]
    assert (report.read, report.sent, report.refused_count) == (12, 3, 9)
    assert "  3: u-2: goal_id 'abc' is not a whole number" in str(report)


def test_conversions_that_cannot_be_sent_are_named(api, data_service):
    """Whatever is wrong with one conversion, the others are sent and it is named by its position."""
    bad = [
        ("u", 501),
        *(Conversion("u", goal_id) for goal_id in (0, -1, True, "501", 2**63)),
        *(Conversion("u", 501, revenue=revenue) for revenue in ("1", float("nan"), float("inf"), 10**400, None)),
        *(Conversion(code, 501) for code in ("", 5, None, "u\udc80", "u" * 256)),
        *(Conversion("u", 501, metadata=given) for given in ([1], {1: 5}, {1: "gold"}, {1: [b""]}, {1: ["\udc80"]})),
        *(Conversion("u", 501, nonce=nonce) for nonce in (5, "xyz", "0123456789abcdefg")),
    ]
    good = [Conversion("first", 1), Conversion("u" * 255, 2**63 - 1, revenue=-1)]
    report = api.import_conversions([good[0], *bad, good[1]])
    assert [refusal.place for refusal in report.refused] == list(range(2, 2 + len(bad)))
    assert (report.sent, report.refused_count) == (2, len(bad))
    assert [event["goalId"] for event in data_service.events.values()] == ["1", str(2**63 - 1)]


def test_a_row_that_is_no_csv_is_named_and_the_rest_sent(api, data_service, tmp_path):
    """A quote in the wrong place costs its own row."""
    (tmp_path / "orders.csv").write_text('visitor_code,goal_id,metadata\nu-1,501,"a"b\nu-2,501,{\nu-3,501,\n')
    report = api.import_conversions(tmp_path / "orders.csv")
    assert [(refusal.place, refusal.reason.partition(":")[0]) for refusal in report.refused] == [
        (2, "not CSV"),
        (3, "metadata is not a JSON object of arrays"),
    ]
    assert [event["visitorCode"] for event in data_service.events.values()] == ["u-3"]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ('"visitor_code"x,goal_id', "header cannot be read"),
        ("visitor_code,goal", "no column goal_id"),
        ("visitor_code;goal_id", "no column visitor_code"),
        ("", "no column"),
    ],
)
def test_a_csv_with_another_header_is_refused(api, data_service, tmp_path, header, said):
    """A file without the needed columns is refused as a whole, before anything is sent."""
    (tmp_path / "orders.csv").write_text(header + "\nu,1\n")
    with pytest.raises(ValueError, match=said):
        api.import_conversions(tmp_path / "orders.csv")
    assert data_service.seen == []


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("last_good", [0, 1, 3])
def test_an_interrupted_import_goes_on_and_counts_everything_once(api, data_service, tmp_path, last_good):
    """A job that stopped goes on with the batch that failed; each conversion is there exactly once."""
    resume = tmp_path / "job.json"
    data_service.routes["POST", "/visit/events"] = counted(data_service, fail_after=last_good)
    with pytest.raises(BulkStopped) as caught:
        api.import_conversions(rows(20), resume=resume)
    kept = caught.value.report.sent
    assert kept == len(data_service.events)
    data_service.routes["POST", "/visit/events"] = data_service.post_events
    report = api.import_conversions(rows(20), resume=resume)
    assert (report.read, report.sent, report.resumed) == (20, 20, kept)
    assert sorted(event["visitorCode"] for event in data_service.events.values()) == sorted(
        f"u-{number}" for number in range(20)
    )
    sent_by_then = len(data_service.bodies)
    assert api.import_conversions(rows(20), resume=resume).sent == 20
    assert len(data_service.bodies) == sent_by_then


def counted(data_service, fail_after):
    """Take so many posts, then be down."""
    left = [fail_after]

    def post(seen):
        if left[0] == 0:
            raise Refused(503)
        left[0] -= 1
        data_service.post_events(seen)

    return post


@pytest.mark.usefixtures("small_batches")
def test_a_batch_whose_answer_was_lost_is_not_counted_twice(api, data_service, tmp_path):
    """A batch that arrived without an answer is sent again with the same nonces, also by the next run."""
    data_service.fail("POST", "/visit/events", "lose", "lose", "lose", "lose", "lose")
    with pytest.raises(BulkStopped):
        api.import_conversions(rows(10), resume=tmp_path / "job.json")
    assert api.import_conversions(rows(10), resume=tmp_path / "job.json").sent == 10
    assert len(data_service.events) == 10


@pytest.mark.usefixtures("small_batches")
def test_ctrl_c_keeps_what_was_done(api, data_service, tmp_path):
    """An interrupt from the keyboard between two batches loses nothing and repeats nothing that was taken."""

    def interrupt(done):
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.import_conversions(rows(20), resume=tmp_path / "job.json", progress=interrupt)
    taken = len(data_service.events)
    assert 0 < taken < 20
    report = api.import_conversions(rows(20), resume=tmp_path / "job.json")
    assert (report.sent, report.resumed, len(data_service.events)) == (20, taken, 20)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("other", [rows(20)[::-1], rows(3), [*rows(20), *rows(1)]], ids=["other", "shorter", "grown"])
def test_another_input_is_not_mixed_with_a_begun_job(api, data_service, tmp_path, other):
    """A resume file is refused with an input that is not its own, and nothing is sent."""
    api.import_conversions(rows(20), resume=tmp_path / "job.json")
    before = len(data_service.bodies)
    with pytest.raises(ResumeMismatch):
        api.import_conversions(other, resume=tmp_path / "job.json")
    assert len(data_service.bodies) == before


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"version": 1}', b"not json", b"caf\xe9"])
def test_a_file_that_is_no_resume_file_is_left_alone(api, tmp_path, content):
    """A file of another kind is refused and not overwritten."""
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(ResumeMismatch):
        api.forget(["u"], resume=path)
    assert path.read_bytes() == content


def test_a_resume_file_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    """A state that cannot take its place is told, and its temporary file is gone."""
    (tmp_path / "job.json").mkdir()
    with pytest.raises(OSError, match=r".+"):
        Journal(tmp_path / "job.json", "a job").save()
    assert [path.name for path in tmp_path.iterdir()] == ["job.json"]


def test_a_resume_file_of_another_job_is_refused(api, tmp_path):
    """Maps cannot go on where conversions stopped."""
    api.import_conversions(rows(1), resume=tmp_path / "job.json")
    with pytest.raises(ResumeMismatch, match="belongs to another job"):
        api.import_maps({"k": {"a": 1}}, resume=tmp_path / "job.json")


@pytest.mark.usefixtures("small_batches")
def test_maps_are_imported_and_bad_ones_named(api, data_service, tmp_path):
    """Good maps are stored; a map that cannot be is reported by its position and key."""
    told = []
    report = api.import_maps(
        [("a", {"n": 1}), ("", {}), ("b", {"n": float("nan")}), ("c", {"x": "y" * 99}), ("d", 3), 7, ("e", {"n": 2})],
        ttl_hours=48,
        progress=told.append,
        resume=tmp_path / "maps.json",
    )
    assert data_service.maps == {"a": {"n": 1}, "e": {"n": 2}}
    assert [(refusal.place, refusal.what) for refusal in report.refused] == [
        (2, ""),
        (3, "b"),
        (4, "c"),
        (5, "d"),
        (6, "7"),
    ]
    assert told[-1] == 7
    assert data_service.seen[0].query["ttlHours"] == "48"


def test_forgetting_names_codes_that_cannot_be_sent(api, data_service):
    """Codes with line breaks would forget somebody else; they are refused."""
    report = api.forget(["u-1", "u-2\nu-3", "", "x" * 101, " u-4", 5, "ü"])
    assert data_service.forgotten == ["u-1", "ü"]
    assert [refusal.place for refusal in report.refused] == [2, 3, 4, 5, 6]
    with pytest.raises(TypeError):
        api.forget("u-1")


def test_nothing_to_do_sends_nothing(api, data_service):
    """An empty input is no request."""
    assert api.forget([]).requests == 0
    assert data_service.seen == []


def test_what_is_too_large_for_the_service_is_halved(api, data_service):
    """A service with a smaller limit gets smaller batches; an item that alone is too large is reported."""
    data_service.most_bytes = 600
    items = [*rows(12), Conversion("u-big", 501, metadata={1: ["x" * 700]})]
    report = api.import_conversions(items)
    assert len(data_service.events) == 12
    assert [(refusal.place, refusal.what) for refusal in report.refused] == [(13, "u-big")]
    assert report.sent == 12


def test_only_so_many_refusals_are_listed(api, monkeypatch):
    """A report of a hopeless input stays small and still counts everything."""
    monkeypatch.setattr(bulk, "MAX_LISTED", 10)
    report = api.forget([""] * 50)
    assert (len(report.refused), report.refused_count) == (10, 50)


def test_a_progress_bar_is_drawn(api, capfd):
    """`progress=True` draws a bar on standard error."""
    api.import_conversions(rows(7), progress=True)
    assert "7/7" in capfd.readouterr().err


def test_the_resume_file_holds_no_input(api, tmp_path):
    """The file keeps counts and a fingerprint, not the visitors."""
    api.import_conversions(rows(5), resume=tmp_path / "job.json")
    assert "u-1" not in (tmp_path / "job.json").read_text()
    assert json.loads((tmp_path / "job.json").read_text())["done"] == 5


def test_bulk_jobs_are_awaited_too(data_service, tmp_path):
    """The asyncio client runs the same jobs."""
    import asyncio

    async def import_all():
        async with AsyncDataApi(SITE, base_url=data_service.url) as client:
            return await client.import_conversions(rows(5), resume=tmp_path / "job.json")

    assert asyncio.run(import_all()).sent == 5
    assert len(data_service.events) == 5


def test_two_jobs_are_two_jobs(api, data_service):
    """The same conversions imported by another job count again: only a resume file makes a job go on."""
    api.import_conversions(rows(5))
    api.import_conversions(rows(5))
    assert len(data_service.events) == 10
