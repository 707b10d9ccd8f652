"""Flags as code and the REST clients against the local server, made from the same specification by other hands."""

import pytest

from kameleoon.__main__ import main
from kameleoon.api.automation import AutomationApi, Credentials
from kameleoon.api.data import DataApi
from kameleoon.api.data_events import conversion, custom_data, experiment
from kameleoon.api.errors import NotFound
from kameleoon.api.filters import where
from kameleoon.server.faults import Faults
from kameleoon.server.project_file import parse_project
from kameleoon.server.serve import LocalServer

HERE = """
project: {site_code: shop123456}
environments: [production, staging]
custom_data: [{name: plan, index: 1, scope: visitor}]
goals: [{key: purchase, id: 1001}]
flags:
  old:
    rules: [{deliver: on, exposition: 10%}]
    environments: {staging: {rules: [{experiment: [off, on]}]}}
  same: {rules: [{experiment: [off, on]}]}
"""
WANTED = """
project: {site_code: shop123456}
environments: [production, staging]
goals: [{key: purchase, id: 1001, multiple: true}, {key: signup, multiple: true}]
segments:
  buyers: {all: [{converted: signup}, {segment: phones}]}
  phones: {device: phone}
flags:
  checkout:
    rules:
      - {deliver: on, to: buyers, key: loyal}
      - {experiment: {off: 50%, on: 50%}, exposition: 80%, key: spring}
"""


@pytest.fixture
def server(monkeypatch):
    """A local server that keeps its rates."""
    monkeypatch.setenv("KAMELEOON_CLIENT_ID", "any")
    monkeypatch.setenv("KAMELEOON_CLIENT_SECRET", "thing")
    with LocalServer(parse_project(HERE), rate_limits=True) as running:
        yield running


def test_a_file_is_applied_once_and_pulled_back(server, tmp_path, capsys):
    """An apply makes it so, a second plan finds nothing, and what is pulled changes nothing."""
    wanted, pulled = tmp_path / "wanted.yaml", tmp_path / "pulled.yaml"
    wanted.write_text(WANTED)
    assert main(["plan", str(wanted), "--url", server.url]) == 3
    assert main(["apply", str(wanted), "--yes", "--url", server.url]) == 0
    assert main(["plan", str(wanted), "--url", server.url]) == 0
    assert main(["pull", "shop123456", "--output", str(pulled), "--url", server.url]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "multiple: false -> true" in captured.out
    assert {flag.key for flag in parse_project(pulled.read_text()).flags} == {"old", "same", "checkout"}
    assert [goal.multiple for goal in parse_project(pulled.read_text()).goals] == [True, True]
    assert [goal.multiple for goal in server.project.goals] == [True, True]
    assert main(["plan", str(pulled), "--url", server.url]) == 0
    assert "left alone" not in capsys.readouterr().out


def test_the_automation_client_understands_the_server(server):
    """Lists, filters, single entities and errors are what the client expects."""
    with AutomationApi(Credentials("any", "thing"), base_url=server.url) as api:
        site = api.sites.by_code("shop123456")
        assert [goal.name for goal in api.goals.list(where("siteId") == site.id)] == ["purchase"]
        assert {flag.feature_key for flag in api.feature_flags.list(per_page=1)} == {"old", "same"}
        assert api.goals.update(1001, name="Order").name == "Order"
        assert (
            api.feature_flags.get("shop123456", "old").environment("staging").rollout_rules[0].type == "EXPERIMENTATION"
        )
        with pytest.raises(NotFound):
            api.goals.get(5)


def test_the_data_client_understands_the_server(server):
    """Events come back as visits, maps as maps, and forgetting forgets, within the server's rates."""
    with DataApi("shop123456", Credentials("any", "thing"), base_url=server.url) as api:
        api.send_events(
            [custom_data(1, "gold"), conversion(1001, revenue=9.5), experiment(5, 6)],
            visitor_code="u-1",
            user_agent="Shop/1",
        )
        visit = api.get_visitor("u-1").current_visit
        assert visit.custom_data[0].values_count_map == {"gold": 1}
        assert (visit.conversions[0].goal_id, visit.conversions[0].revenue) == (1001, 9.5)
        assert visit.experiments[0].variation_id == 6
        assert api.import_maps({f"k{number}": {"n": number} for number in range(300)}).sent == 300
        assert len(api.get_maps(f"k{number}" for number in range(300))) == 300
        assert api.forget(["u-1"]).sent == 1
        assert api.get_visitor("u-1").current_visit is None


def test_an_apply_gets_there_though_the_server_fails(server, tmp_path):
    """With a fifth of the answers failing and some connections cut, apply is repeated until done, and does nothing twice."""
    wanted = tmp_path / "wanted.yaml"
    wanted.write_text(WANTED)
    server.fail(Faults({503: 0.15}, reset=0.05))
    codes = []
    while not codes or (codes[-1] != 0 and len(codes) < 30):
        codes.append(main(["apply", str(wanted), "--yes", "--url", server.url]))
    server.fail(Faults())
    assert codes[-1] == 0
    assert main(["plan", str(wanted), "--url", server.url]) == 0
    with AutomationApi(Credentials("any", "thing"), base_url=server.url) as api:
        assert sorted(goal.name for goal in api.goals.list()) == ["purchase", "signup"]
        keys = [flag.feature_key for flag in api.feature_flags.list()]
        assert sorted(keys) == ["checkout", "old", "same"]


def test_a_bulk_job_gets_there_though_the_server_fails(server):
    """What fails for a while is sent again, and in the end every map is there."""
    with DataApi("shop123456", Credentials("any", "thing"), base_url=server.url) as api:
        server.fail(Faults({503: 0.1}, reset=0.05))
        wanted = {f"k{number}": {"n": number} for number in range(40)}
        for _ in range(10):
            report = api.import_maps(wanted)
            if report.sent == len(wanted):
                break
        server.fail(Faults())
        assert report.sent == len(wanted)
        assert len(api.get_maps(wanted)) == len(wanted)


def test_windows_of_rules_are_applied_and_pulled(server, tmp_path, capsys):
    """A window is applied once, however its moments are written, pulled back, and left alone by a file without one."""
    window = "{from: 2036-12-01 09:00, zone: Europe/Paris}"
    wanted, pulled = tmp_path / "wanted.yaml", tmp_path / "pulled.yaml"
    wanted.write_text(HERE.replace("exposition: 10%", f"exposition: 10%, release: {window}"))
    assert main(["apply", str(wanted), "--yes", "--url", server.url]) == 0
    assert "rule deliver_on: release: always -> from 2036-12-01T09:00:00 (Europe/Paris)" in capsys.readouterr().out
    for same in (window, "{from: '2036-12-01 08:00Z'}"):
        wanted.write_text(HERE.replace("exposition: 10%", f"exposition: 10%, release: {same}"))
        assert main(["plan", str(wanted), "--url", server.url]) == 0
    assert main(["pull", "shop123456", "--output", str(pulled), "--url", server.url]) == 0
    assert 'release: {from: "2036-12-01 09:00", zone: Europe/Paris}' in pulled.read_text()
    wanted.write_text(HERE.replace("10%", "20%"))
    assert main(["apply", str(wanted), "--yes", "--url", server.url]) == 0
    (rule,) = server.project.flags[0].rules
    assert (rule.exposition, str(rule.release)) == (0.2, "from 2036-12-01 09:00 (Europe/Paris)")
