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
