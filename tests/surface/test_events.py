"""What applications subscribe to."""

import copy
import pickle

import pytest

import kameleoon.events
from kameleoon.events import (
    DataFileUpdateEvent,
    DataFileUpdateHandler,
    EventType,
    HttpRequestFailure,
    HttpRequestHandler,
    RequestType,
)


def test_event_types():
    """Each kind of event has a name, a handler type and the methods asked for."""
    assert [(str(kind), kind.name) for kind in EventType] == [
        ("DATAFILE_UPDATE", "DATAFILE_UPDATE"),
        ("HTTP_REQUEST", "HTTP_REQUEST"),
    ]
    assert EventType.DATAFILE_UPDATE.handler_type is DataFileUpdateHandler
    assert EventType.DATAFILE_UPDATE.required_methods == ("on_update",)
    assert EventType.HTTP_REQUEST.handler_type is HttpRequestHandler
    assert EventType.HTTP_REQUEST.required_methods == ("on_request_succeeded", "on_request_failed")


@pytest.mark.parametrize("kind", EventType)
def test_handler_types_have_the_required_methods(kind):
    """What a kind of event requires is what its handler type declares."""
    assert all(callable(getattr(kind.handler_type, name)) for name in kind.required_methods)
    assert copy.deepcopy(kind) is kind


def test_events_hold_their_facts():
    """Events give their facts under the documented names and can be pickled."""
    update = DataFileUpdateEvent(DataFileUpdateEvent.Source.STREAMING, 5)
    assert (update.source.name, update.date_modified) == ("STREAMING", 5)
    failure = HttpRequestFailure(HttpRequestFailure.Reason.HTTP_STATUS, 500)
    assert (failure.reason.name, failure.http_status, failure.cause) == ("HTTP_STATUS", 500, None)
    for event in (update, failure):
        assert pickle.loads(pickle.dumps(event)) == event


def test_values_are_names():
    """The value of each enumeration's member is its name."""
    for kind in (RequestType, DataFileUpdateEvent.Source, HttpRequestFailure.Reason):
        assert all(member.value == member.name for member in kind)
    assert [kind.name for kind in RequestType] == [
        "DATAFILE",
        "TRACKING",
        "REMOTE_VISITOR_DATA",
        "REMOTE_DATA",
        "ACCESS_TOKEN",
    ]


def test_a_handler_may_leave_methods_out():
    """A handler that inherits need only write what it cares for."""

    class Failures(HttpRequestHandler):
        def on_request_failed(self, request_type, failure, duration_millis):
            seen.append((request_type, failure, duration_millis))

    seen = []
    handler = Failures()
    handler.on_request_succeeded(RequestType.DATAFILE, 200, 5)
    handler.on_request_failed(RequestType.DATAFILE, None, 5)
    assert seen == [(RequestType.DATAFILE, None, 5)]


def test_exports():
    """The package exports the vendor's names, in order."""
    assert sorted(kameleoon.events.__all__) == kameleoon.events.__all__
