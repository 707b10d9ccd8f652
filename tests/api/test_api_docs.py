"""The pages on the REST clients tell the truth: what they show was run."""

import re
from pathlib import Path

from kameleoon.api.data import DataApi

DOCS = Path(__file__).parents[2] / "docs"


def test_the_example_of_the_data_api_runs(data_service, tmp_path, monkeypatch, capsys):
    """The page's examples run against a service, and the report is printed as shown."""
    page = (DOCS / "data-api.md").read_text(encoding="utf-8")
    first, second = re.findall(r"^```python\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    data_service.visits = {"currentVisit": None, "previousVisits": []}
    data_service.client_id, data_service.client_secret = "client id", "client secret"
    local = f', base_url="{data_service.url}") as api'
    exec(compile(first.replace(") as api", local), "data-api.md", "exec"), {})
    assert len(data_service.events) == 2
    monkeypatch.chdir(tmp_path)
    Path("orders.csv").write_text("visitor_code,goal_id,revenue\nu-1,501,49.90\nu-2,abc,1\nu-3,501,12 EUR\n")
    with DataApi("shop123456", base_url=data_service.url) as api:
        exec(compile(second, "data-api.md", "exec"), {"api": api})
    assert capsys.readouterr().out.split("\n", 1)[1] in page


def test_the_example_of_the_automation_api_runs(automation_service, capsys):
    """The page's example lists goals and switches a flag on."""
    page = (DOCS / "automation-api.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    automation_service.client_id, automation_service.client_secret = "client id", "client secret"
    automation_service.add("goals", name="order", siteId=41, type="CUSTOM")
    flag = automation_service.flagged({"siteCode": "shop123456", "featureKey": "checkout", "name": "Checkout"})
    flag = automation_service.add("feature-flags", **flag)
    local = f', base_url="{automation_service.url}") as api'
    exec(compile(example.replace(") as api", local), "automation-api.md", "exec"), {})
    assert "order CUSTOM" in capsys.readouterr().out
    assert flag["environmentConfigurations"][0]["featureEnabled"] is True


def test_every_resource_is_on_the_page(automation):
    """The page lists each resource with each of its calls."""
    page = (DOCS / "automation-api.md").read_text(encoding="utf-8")
    listed = {}
    for names, calls in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (.*) \|$", page, flags=re.MULTILINE):
        for name in re.findall(r"\w+", names):
            listed[name] = {call.split()[0] for call in calls.split(", ")}
    resources = {name: resource for name, resource in vars(automation).items() if name[0] != "_"}
    assert listed == {name: {call for call in dir(one) if call[0] != "_"} for name, one in resources.items()}
