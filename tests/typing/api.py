"""Uses of the public API as applications write them. Checked by mypy and never run, see ``test_typing.py``."""

import logging
from http.cookies import SimpleCookie
from typing import Any, assert_type

from kameleoon import (
    Browser,
    BrowserType,
    Conversion,
    Cookie,
    CustomData,
    Data,
    Device,
    DeviceType,
    Geolocation,
    KameleoonClient,
    KameleoonClientConfig,
    KameleoonClientFactory,
    KameleoonWSGIMiddleware,
    OperatingSystem,
    OperatingSystemType,
    PageView,
    UniqueIdentifier,
    UserAgent,
)
from kameleoon.events import (
    DataFileUpdateEvent,
    DataFileUpdateHandler,
    EventType,
    HttpRequestFailure,
    HttpRequestHandler,
    RequestType,
)
from kameleoon.exceptions import KameleoonError, VisitorCodeInvalid
from kameleoon.logging.kameleoon_logger import KameleoonLogger
from kameleoon.logging.log_level import LogLevel
from kameleoon.logging.logger import Logger
from kameleoon.types.data_file import DataFile
from kameleoon.types.flush_result import FlushResult
from kameleoon.types.remote_visitor_data_filter import RemoteVisitorDataFilter
from kameleoon.types.stats import Stats
from kameleoon.types.variation import Variation

config = KameleoonClientConfig(
    "id", "secret", refresh_interval_minute=0.5, environment="staging", data_dir="/var/lib/k"
)
config.set_refresh_interval_minute(5)
client = KameleoonClientFactory.create("site", config)
assert_type(client, KameleoonClient)
KameleoonClientFactory.create("site", config_path="/etc/kameleoon/client-python.yaml")
KameleoonClientConfig.read_from_yaml("client-python.yaml")

assert_type(client.wait_init(2000), bool)
assert_type(client.is_ready(), bool)
code = client.get_visitor_code(cookies_readonly={"kameleoonVisitorCode": "a"})
assert_type(code, str)
client.get_visitor_code(cookies=SimpleCookie(), default_visitor_code="b")
client.set_legal_consent(code, True, cookies={})

client.add_data(
    code,
    Browser(BrowserType.CHROME, 120.0),
    Conversion(1, 9.5, negative=True, metadata=[CustomData(1, "a")]),
    Cookie({"name": "value"}),
    CustomData("name", "value", overwrite=False),
    Device(DeviceType.PHONE),
    Geolocation("France", latitude=1.5),
    OperatingSystem(OperatingSystemType.LINUX),
    PageView("https://example.com", None, [1]),
    UniqueIdentifier(True),
    UserAgent("agent"),
    None,
    track=False,
)
client.track_conversion(code, 7, 2.5, negative=False, metadata=(CustomData(1, "a"),))

assert_type(client.is_feature_active(code, "flag"), bool)
assert_type(client.get_variation(code, "flag", track=False), Variation)
assert_type(client.get_variations(code, only_active=True), dict[str, Variation])
assert_type(client.get_data_file(), DataFile)
assert_type(client.get_feature_list(), list[str])
assert_type(client.get_feature_variation_variables("flag", "on"), dict[str, Any])
client.set_forced_variation(code, 12, None, force_targeting=False)
client.evaluate_audiences(code)
assert_type(client.get_engine_tracking_code(code), str)

assert_type(client.flush(), None)
assert_type(client.flush(code, instant=True), None)
assert_type(client.flush(timeout=2.0), FlushResult)
assert_type(client.stats(), Stats)

assert_type(client.get_remote_data("key", timeout=1.0), Any)
wanted = RemoteVisitorDataFilter(previous_visit_amount=3, device=True)
assert_type(client.get_remote_visitor_data(code, data_filter=wanted), list[Data])
assert_type(client.get_visitor_warehouse_audience(code, 7), CustomData | None)


class Updates(DataFileUpdateHandler):
    """Hears of configurations."""

    def on_update(self, event: DataFileUpdateEvent) -> None:
        """Look at the event."""
        assert_type(event.source, DataFileUpdateEvent.Source)
        assert_type(event.date_modified, int)


class Requests(HttpRequestHandler):
    """Hears of requests."""

    def on_request_succeeded(self, request_type: RequestType, http_status: int, duration_millis: int) -> None:
        """Look at the request."""

    def on_request_failed(self, request_type: RequestType, failure: HttpRequestFailure, duration_millis: int) -> None:
        """Look at the failure."""
        assert_type(request_type, RequestType)
        assert_type(duration_millis, int)
        assert_type(failure.reason, HttpRequestFailure.Reason)


client.set_event_handler(EventType.DATAFILE_UPDATE, Updates())
client.set_event_handler(EventType.HTTP_REQUEST, Requests())
client.set_event_handler(EventType.HTTP_REQUEST, None)
client.on_update_configuration(lambda: None)


class Log(Logger):
    """Takes the library's messages."""

    def log(self, level: LogLevel, message: str) -> None:
        """Hand a message on."""
        logging.getLogger("mine").log(logging.INFO, "%s %s", level, message)


KameleoonLogger.set_logger(Log())
KameleoonLogger.set_log_level(LogLevel.DEBUG)


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer as WSGI has it."""
    del environ, start_response
    return []


KameleoonWSGIMiddleware(application, client, default_visitor_code="c")


def handle() -> str:
    """Errors form one tree and carry their facts."""
    try:
        return client.get_variation("", "flag").key
    except VisitorCodeInvalid as error:
        return str(error.reason)
    except KameleoonError as error:
        return error.message


async def asynchronous() -> None:
    """The twins give the same types."""
    async with client:
        assert_type(await client.wait_init_async(), bool)
        assert_type(await client.get_remote_data_async("key"), Any)
        assert_type(await client.get_remote_visitor_data_async(code), list[Data])
        assert_type(await client.get_visitor_warehouse_audience_async(code, 7), CustomData | None)
        assert_type(await client.flush_async(code, instant=True), None)
        assert_type(await client.flush_async(timeout=1.0), FlushResult)
        await client.prepare_async(code)
        await client.run_background()
    await client.aclose(timeout=1.0)


with client:
    client.close(timeout=1.0)

client.get_variation(code)  # type: ignore[call-arg]
client.add_data(code, "no data object")  # type: ignore[arg-type]
client.is_feature_active(code, "flag", trac=True)  # type: ignore[call-arg]
Device("PHONE")  # type: ignore[arg-type]
