"""A client without threads whose work a task of the application does."""

import asyncio
import threading
import time
from pathlib import Path

import pytest

from kameleoon import KameleoonClient, KameleoonClientConfig
from kameleoon.server.serve import LocalServer

PROJECT = Path(__file__).parents[2] / "sample-config" / "demo-project.yaml"


@pytest.fixture(scope="module")
def server():
    """The local server with the sample project."""
    with LocalServer(PROJECT) as running:
        yield running


def make(server, **settings):
    """Make a client that starts no thread."""
    config = KameleoonClientConfig("id", "secret", base_url=server.url, multi_threading=False, **settings)
    return KameleoonClient("demoshop01", config)


async def until(holds):
    """Wait until *holds*."""
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - looked at from outside, nothing tells
            await asyncio.sleep(0.005)


def test_the_task_wakes_when_a_job_becomes_due(server):
    """Idle for a second before the next round, it starts at once when somebody hastens a job, from another thread too."""

    async def application():
        async with make(server, tracking_interval_millisecond=5000) as client:
            task = asyncio.create_task(client.run_background())
            await until(client.is_ready)
            await asyncio.sleep(0)
            job = client._core.schedule._job("access token")
            runs = job.runs
            started = time.monotonic()
            await asyncio.to_thread(client._core.schedule.hasten, "access token")
            await until(lambda: job.runs > runs)
            assert time.monotonic() - started < 1.0
            assert threading.active_count() == before + 1, "only the thread of to_thread"
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert client._core.schedule._watchers == []

    before = threading.active_count()
    asyncio.run(application())


def test_the_task_sleeps_between_jobs(server):
    """Nothing is looked at while nothing is due."""

    async def application():
        async with make(server, tracking_interval_millisecond=5000) as client:
            task = asyncio.create_task(client.run_background())
            await until(client.is_ready)
            looks = []
            idle_s = client._core.schedule.idle_s
            client._core.schedule.idle_s = lambda: looks.append(1) or idle_s()
            await asyncio.sleep(0.2)
            assert len(looks) <= 2
            task.cancel()

    asyncio.run(application())


def test_the_task_ends_with_close(server):
    """Closed from anywhere, the task ends by itself, at once."""

    async def application():
        client = make(server, tracking_interval_millisecond=5000)
        task = asyncio.create_task(client.run_background())
        await until(client.is_ready)
        await client.aclose()
        await asyncio.wait_for(task, 1.0)

    asyncio.run(application())


def test_a_job_that_breaks_ends_nothing(server, caplog):
    """What a job raises is logged, and the others go on."""

    async def application():
        async with make(server) as client:
            client._core.schedule._job("access token").make = lambda: 1 / 0
            client._core.schedule.hasten("access token")
            task = asyncio.create_task(client.run_background())
            await until(client.is_ready)
            await until(lambda: "access token" in caplog.text)
            assert not task.done()
            task.cancel()

    asyncio.run(application())
    assert "ZeroDivisionError" in caplog.text
