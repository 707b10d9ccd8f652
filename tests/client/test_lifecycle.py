"""A client from its making to its end, against the real local server."""

import asyncio
import gc
import json
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from kameleoon import (
    CustomData,
    Device,
    DeviceType,
    KameleoonClient,
    KameleoonClientConfig,
    KameleoonClientFactory,
)
from kameleoon.events import EventType
from kameleoon.exceptions import ConfigException, FeatureNotFound, KameleoonError
from kameleoon.server.serve import LocalServer

PROJECT = Path(__file__).parents[2] / "sample-config" / "demo-project.yaml"
SITE = "demoshop01"


@pytest.fixture(scope="module")
def server():
    """The local server with the sample project."""
    with LocalServer(PROJECT) as running:
        yield running


def config(server, **settings):
    """Settings for a client of *server*."""
    given = {"top_level_domain": "localhost", "default_timeout_millisecond": 5000, **settings}
    return KameleoonClientConfig("id", "secret", base_url=server.url, **given)


@pytest.fixture
def make_client(server):
    """A function that makes clients which are closed afterwards."""
    made = []

    def make(**settings):
        client = KameleoonClient(SITE, config(server, **settings))
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


def threads():
    """The threads that run, those of the local server's storage left out: they begin with its first write."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("kameleoon-server-")}


def events_of(server, code):
    """Types of the events that the server stored of one visitor."""
    return [event.type for event in server.events() if event.visitor == code]


def test_a_client_becomes_ready_and_evaluates(make_client):
    """wait_init is True once the configuration is there, and flags answer."""
    client = make_client()
    assert client.wait_init() is True
    assert client.is_ready() is True
    client.add_data("v", CustomData("plan", "gold"), Device(DeviceType.PHONE))
    assert client.is_feature_active("v", "free_shipping") is True
    assert client.get_variation("v", "checkout_design").key in {"classic", "one_page", "express"}


def test_before_the_configuration_flags_are_not_found(unused_port):
    """Without a service the client is not ready in time, and every flag is unknown, but nothing else is raised."""
    client = KameleoonClient(SITE, KameleoonClientConfig("i", "s", base_url=f"http://127.0.0.1:{unused_port}"))
    with client:
        assert client.wait_init(2000) is False
        assert client.is_ready() is False
        with pytest.raises(FeatureNotFound):
            client.is_feature_active("v", "free_shipping")
        assert client.get_variations("v") == {}
        assert client.get_data_file().date_modified == 0


@pytest.fixture
def unused_port():
    """A port that nobody listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_wait_init_with_no_time_answers_at_once(unused_port):
    """A timeout of 0 does not wait."""
    with KameleoonClient(SITE, KameleoonClientConfig("i", "s", base_url=f"http://127.0.0.1:{unused_port}")) as client:
        assert client.wait_init(0) is False


def test_flush_with_a_timeout_tells_what_was_sent(make_client, server):
    """The lines of a visitor are at the server when flush comes back, each once."""
    client = make_client()
    client.wait_init()
    client.add_data("flushed", CustomData("plan", "free"))
    client.track_conversion("flushed", 1001, revenue=12.5)
    result = client.flush("flushed", timeout=5.0)
    assert (result.sent, result.pending, result.dropped) == (2, 0, 0)
    assert events_of(server, "flushed") == ["customData", "conversion"]


def test_without_threads_the_caller_does_the_work(make_client, server):
    """multi_threading=False starts no thread; waiting, flushing and tracking do what is due."""
    before = threads()
    client = make_client(multi_threading=False)
    assert threads() == before
    assert client.wait_init() is True
    client.track_conversion("unthreaded", 1001)
    assert client.flush("unthreaded", timeout=5.0).sent == 1
    assert threads() == before
    assert events_of(server, "unthreaded") == ["conversion"]


def test_an_asyncio_application_waits_and_flushes_without_blocking(make_client, server, unused_port):
    """The asynchronous twins work on the application's loop, and wait_init says that it would block."""
    nowhere = KameleoonClientConfig("i", "s", base_url=f"http://127.0.0.1:{unused_port}")

    async def application():
        # Of a client that is ready, as the other may be by now, it would not block.
        async with KameleoonClient(SITE, nowhere) as client:
            with pytest.raises(KameleoonError, match="wait_init_async"):
                client.wait_init()
        async with make_client() as client:
            assert await client.wait_init_async() is True
            client.track_conversion("asynchronous", 1001)
            assert (await client.flush_async("asynchronous", timeout=5.0)).sent == 1
            assert await client.get_remote_data_async("nothing") == {}

    asyncio.run(application())
    assert events_of(server, "asynchronous") == ["conversion"]


def test_run_background_does_the_work_on_the_loop(make_client, server):
    """Without threads an asyncio application runs the client's work as a task of its own."""

    async def application():
        client = make_client(multi_threading=False)
        work = asyncio.create_task(client.run_background())
        for _ in range(200):
            if client.is_ready():
                break
            await asyncio.sleep(0.02)
        client.track_conversion("in the background", 1001)
        client._core.tracker.collect()
        client._core.schedule.hasten("delivery")
        for _ in range(200):
            if events_of(server, "in the background"):
                break
            await asyncio.sleep(0.02)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await client.aclose()

    asyncio.run(application())
    assert events_of(server, "in the background") == ["conversion"]


def test_polling_finds_a_change():
    """A changed project is in force after the next poll, and the update handler hears of it."""
    from kameleoon.server.project_file import read_project

    text = PROJECT.read_text().replace("recommendations:\n", "brand_new:\n")
    heard = threading.Event()

    class Handler:
        def on_update(self, _event):
            heard.set()

    with LocalServer(PROJECT) as other:
        client = KameleoonClient(SITE, config(other, refresh_interval_minute=0.005))
        with client:
            assert client.wait_init() is True
            assert "brand_new" not in client.get_data_file().feature_flags
            client.set_event_handler(EventType.DATAFILE_UPDATE, Handler())
            other.publish(read_project_text(text, read_project))
            assert heard.wait(5.0)
            assert "brand_new" in client.get_data_file().feature_flags


def read_project_text(text, read_project):
    """A project from YAML text."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "project.yaml"
        path.write_text(text)
        return read_project(path)


def test_closing_sends_what_is_left_and_frees_everything(server):
    """What was tracked before close is at the server afterwards; closing again does nothing."""
    client = KameleoonClient(SITE, config(server))
    client.wait_init()
    client.track_conversion("closed", 1001)
    client.close()
    client.close()
    assert events_of(server, "closed") == ["conversion"]


def test_making_and_forgetting_leaves_no_thread_and_no_socket(server):
    """After many clients there are as many threads and open files as before."""

    def cycle():
        KameleoonClientFactory.create(SITE, config(server)).wait_init()
        KameleoonClientFactory.forget(SITE)

    cycle()
    gc.collect()
    threads, files = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(10):
        cycle()
    gc.collect()
    assert threading.active_count() == threads
    assert len(list(Path("/proc/self/fd").iterdir())) <= files + 2


def test_one_client_for_a_site_and_environment(server):
    """The same settings give the same client, another environment another one, other settings an error that names them."""
    try:
        client = KameleoonClientFactory.create(SITE, config(server))
        assert KameleoonClientFactory.create(SITE, config(server)) is client
        staging = KameleoonClientFactory.create(SITE, config(server, environment="staging"))
        assert staging is not client
        with pytest.raises(ConfigException, match="timeout_s"):
            KameleoonClientFactory.create(SITE, config(server, default_timeout_millisecond=1234))
        client.close()
        assert KameleoonClientFactory.create(SITE, config(server)) is not client
    finally:
        KameleoonClientFactory.forget(SITE)


def test_settings_of_another_kind_are_refused(tmp_path):
    """A path in the place of the settings is told where it belongs; no client is made."""
    with pytest.raises(ConfigException, match=r"expected a KameleoonClientConfig, got PosixPath; .* config_path"):
        KameleoonClientFactory.create(SITE, tmp_path / "client.yaml")
    assert SITE not in KameleoonClientFactory.site_codes()


def test_offline_answers_from_a_dictionary_and_a_file(tmp_path):
    """A source needs no network and no credentials, a broken new version keeps the old one."""
    flag = {"featureKey": "f", "environmentEnabled": True, "defaultVariationKey": "on", "rules": [], "variations": []}
    path = tmp_path / "configuration.json"
    path.write_text(json.dumps({"featureFlags": [flag]}))
    for source in ({"featureFlags": [flag]}, path):
        with KameleoonClient("offline", KameleoonClientConfig(source=source, top_level_domain="localhost")) as client:
            assert client.wait_init() is True
            assert client.is_feature_active("v", "f") is True
            assert client.flush("v", timeout=1.0).pending == 0


def run_script(server, body):
    """Run *body* in a process of its own, with a client of *server* as ``client``."""
    script = f"""
        import os, sys, threading
        from kameleoon import KameleoonClient, KameleoonClientConfig
        client = KameleoonClient({SITE!r}, KameleoonClientConfig("i", "s", base_url={server.url!r}))
        assert client.wait_init()
    """
    text = textwrap.dedent(script) + textwrap.dedent(body)
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("ending", "code"), [("", 0), ("sys.exit(3)", 3), ("raise RuntimeError", 1), ("client.flush()", 0)]
)
def test_nothing_is_lost_when_the_interpreter_ends(server, ending, code):
    """Whatever ends the process, a conversion tracked right before arrives once."""
    name = f"end of {ending or 'script'}"
    done = run_script(server, f"client.track_conversion({name!r}, 1001)\n{ending}\n")
    assert done.returncode == code, done.stderr
    assert events_of(server, name) == ["conversion"]


def test_a_forked_child_sends_its_own_events_and_its_parent_its_own(server):
    """With events pending at the fork, each event arrives exactly once."""
    done = run_script(
        server,
        """
        client.track_conversion("before the fork", 1001)
        pid = os.fork()
        if pid == 0:
            client.track_conversion("in the child", 1001)
            result = client.flush("in the child", timeout=5.0)
            os._exit(0 if (result.sent, result.pending) == (1, 0) else 7)
        status = os.waitpid(pid, 0)[1]
        client.track_conversion("in the parent", 1001)
        sys.exit(os.waitstatus_to_exitcode(status))
        """,
    )
    assert done.returncode == 0, done.stderr
    for name in ("before the fork", "in the child", "in the parent"):
        assert events_of(server, name) == ["conversion"], name


def test_importing_the_library_loads_nothing_heavy():
    """`import kameleoon` alone loads none of the libraries it may need later."""
    heavy = ["requests", "aiohttp", "yaml", "mmh3", "ld_eventsource", "asyncio", "sqlite3"]
    script = f"import sys, kameleoon; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_exported_is_what_is_visible():
    """Every public name of the package can be imported, and __all__ is sorted."""
    import kameleoon

    assert sorted(kameleoon.__all__) == kameleoon.__all__
    for name in kameleoon.__all__:
        assert getattr(kameleoon, name) is not None
    assert set(kameleoon.__all__) <= set(dir(kameleoon))
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        _ = kameleoon.nothing_of_that_name
