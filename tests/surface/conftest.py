"""What the tests of settings have in common."""

import os

import pytest


@pytest.fixture(autouse=True)
def _no_settings_in_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("KAMELEOON_"):
            monkeypatch.delenv(name)
