"""The page on the local server tells the truth: its files load, and it names every key, condition and path."""

import re
from pathlib import Path

import pytest

from kameleoon.server.app import build_app
from kameleoon.server.conditions import READERS
from kameleoon.server.project_file import ProjectError, parse_project
from kameleoon.server.service import Service
from kameleoon.server.storage import Storage

PAGE = (Path(__file__).parents[2] / "docs" / "local-server.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("block", BLOCKS, ids=["least", "everything", "conditions"])
def test_every_project_on_the_page_loads(block):
    """The page's project files are read without a mistake."""
    assert parse_project(block).site_code == "shop123456"


def test_every_condition_is_on_the_page():
    """The page's example of conditions has each of them."""
    assert {name for name in READERS if not re.search(rf"^ +- {{{name}: ", BLOCKS[2], flags=re.MULTILINE)} == set()


def test_the_mistake_on_the_page_is_the_one_that_is_reported():
    """The page shows a mistake as it is reported."""
    with pytest.raises(ProjectError) as caught:
        parse_project("project: {site_code: a}\nflags:\n  checkout: {default: of}\n", source="shop.yaml")
    assert f"    {caught.value}\n" in PAGE


def test_every_path_is_on_the_page():
    """The page lists each path that the server answers."""
    storage = Storage()
    service = Service([parse_project(BLOCKS[0])], storage)
    paths = {route.resource.canonical for route in build_app(service).router.routes()}
    paths = {path for path in paths if not path.startswith("/v1/")}
    service.close()
    listed = {
        path.replace("siteCode", "site_code") for path in re.findall(r"`(?:GET|POST|PUT|PATCH|DELETE) (/[^?`]*)", PAGE)
    }
    assert listed >= paths
