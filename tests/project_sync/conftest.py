"""A strict Automation API with one site, and the commands against it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "api"))

from strict_automation import AutomationService

from kameleoon.__main__ import main
from kameleoon.api import automation
from kameleoon.api.limiter import Rate

SITE = "shop123456"


@pytest.fixture
def service(monkeypatch):
    """The service, with the site and credentials in the environment, and without the long wait of its rates."""
    monkeypatch.setattr(automation, "RATES", (Rate(10_000, 1.0),))
    monkeypatch.setenv("KAMELEOON_CLIENT_ID", "shop")
    monkeypatch.setenv("KAMELEOON_CLIENT_SECRET", "s3cr3t/+&")
    with AutomationService(bad_token_status=403) as running:
        running.add("sites", code=SITE, name="Shop", url="https://shop.example")
        yield running


@pytest.fixture
def run(service, capsys):
    """Run a command against the service; gives code, output and errors."""

    def command(*arguments):
        code = main([*map(str, arguments), "--url", service.url])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command
