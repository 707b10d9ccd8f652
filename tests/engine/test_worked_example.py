"""The worked example of the service's description, played through the public client."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kameleoon import CustomData, Device, DeviceType, Geolocation, KameleoonClientConfig
from kameleoon.client import KameleoonClient

EXAMPLE = json.loads(Path(__file__).with_name("worked_example.json").read_text("utf-8"))
PHONE = DeviceType.PHONE


@pytest.fixture
def client():
    """A fresh client with the example's configuration, without network and threads."""
    config = KameleoonClientConfig(source=EXAMPLE["configuration"], multi_threading=False)
    with KameleoonClient("example", config) as client:
        assert client.wait_init()
        yield client


@pytest.mark.parametrize("row", EXAMPLE["rows"], ids=lambda row: f"{row['code']}-{row['told']}")
def test_row(client, row):
    """The visitor gets these variations, and these are remembered of him."""
    code, told = row["code"], row["told"]
    if told.startswith("set_legal_consent"):
        client.set_legal_consent(code, "True" in told)
    elif told:
        names = {"CustomData": CustomData, "Device": Device, "PHONE": PHONE, "Geolocation": Geolocation}
        client.add_data(code, *eval(f"({told},)", names))
    variations = client.get_variations(code)
    assert {key: [v.key, v.id_, v.experiment_id] for key, v in variations.items()} == row["gets"]
    stored = client._core.store.peek(code).record.assignments
    assert {str(key): assignment.variation_id for key, assignment in stored.items()} == row["stored"]


def test_variables(client):
    """Variables come with their type and their decoded value."""
    variation = client.get_variation("visitor-2", "checkout")
    assert variation.name == "New checkout"
    assert {key: (variable.type, variable.value) for key, variable in variation.variables.items()} == {
        "enabled": ("BOOLEAN", True),
        "columns": ("NUMBER", 3.5),
        "title": ("STRING", "Panier"),
        "layout": ("JSON", [True, None]),
        "style": ("CSS", ".a{color:red}"),
        "script": ("JS", "void 0"),
    }
