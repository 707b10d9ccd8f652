"""In every framework, under a real server: what a view tracks arrives."""

from pathlib import Path

import pytest
from web_stacks import STACKS, Site

from kameleoon.cookies import VISITOR_COOKIE
from kameleoon.server.project_file import parse_project
from kameleoon.server.serve import LocalServer

PROJECT = (Path(__file__).parents[2] / "sample-config" / "demo-project.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("stack", STACKS)
def test_events_arrive(stack):
    """A conversion that a view tracks has reached the service when the application has ended."""
    with LocalServer(parse_project(PROJECT)) as backend:
        with STACKS[stack]({"base_url": backend.url}, None) as port:
            assert Site(stack, port).get("/buy", f"{VISITOR_COOKIE}=buyer")[1] == "bought"
        assert [
            (event.visitor, event.parameters["revenue"]) for event in backend.events() if event.type == "conversion"
        ] == [("buyer", "9.5")]
