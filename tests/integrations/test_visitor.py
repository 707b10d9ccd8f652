"""The visitor of a request, whatever the framework."""

import logging
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pytest

from kameleoon import CustomData, KameleoonClient, KameleoonClientConfig
from kameleoon.cookies import VISITOR_COOKIE
from kameleoon.exceptions import VisitorCodeInvalid
from kameleoon.integrations.override import override_flag
from kameleoon.integrations.visitor import Visitor
from kameleoon.server.serve import LocalServer

PROJECT = Path(__file__).parents[2] / "sample-config" / "demo-project.yaml"


@pytest.fixture(scope="module")
def client():
    """A client of the demo shop."""
    with (
        LocalServer(PROJECT) as server,
        KameleoonClient("demoshop01", KameleoonClientConfig("id", "secret", base_url=server.url)) as client,
    ):
        client.wait_init()
        yield client


def visitor_of(client, code="visitor-1"):
    """The visitor of a request with a cookie."""
    return Visitor(lambda: client, f"{VISITOR_COOKIE}={code}")


def no_client():
    """Fail: nothing may need the client."""
    raise AssertionError


def test_nothing_happens_before_it_is_used(client):
    """Neither client nor default code is asked for until something needs the visitor."""
    visitor = Visitor(no_client, None, no_client)
    assert (visitor.is_used, visitor.cookie(), repr(visitor)) == (False, None, "Visitor(not used yet)")
    visitor = visitor_of(client)
    assert visitor.is_active("recommendations")
    assert visitor.is_used
    assert repr(visitor) == "Visitor('visitor-1')"


def test_flags_are_the_clients(client):
    """Flags, variations and variables are what the client answers for the code."""
    for number in range(20):
        code = f"visitor-{number}"
        visitor = visitor_of(client, code)
        variation = client.get_variation(code, "checkout_design", track=False)
        assert visitor.variation("checkout_design") == variation
        assert visitor.is_active("checkout_design")
        assert visitor.variable("checkout_design", "columns") == variation.variables["columns"].value
        assert visitor.variable("checkout_design", "no such variable", 7) == 7


def test_a_flag_that_does_not_exist(client, caplog):
    """It is off, has no variation, gives defaults, and one warning tells so."""
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            visitor = visitor_of(client)
            assert visitor.is_active("chekout") is False
            assert visitor.variation("chekout") is None
            assert visitor.variable("chekout", "title", "Cart") == "Cart"
    assert len([record for record in caplog.records if "chekout" in record.getMessage()]) == 1


def test_data_and_consent(client):
    """Data targets, and consent is what was said last."""
    visitor = visitor_of(client, "gold")
    assert not visitor.is_active("free_shipping")
    from kameleoon import Device, DeviceType

    visitor.add_data(CustomData("plan", "gold"), Device(DeviceType.PHONE))
    assert visitor.is_active("free_shipping")
    assert visitor.consent is None
    visitor.consent = True
    assert visitor.consent is True
    visitor.consent = False
    assert visitor_of(client, "gold").consent is False


def test_a_default_that_cannot_be_used(client):
    """A default code of the application that is no code raises."""
    for default in ("", "x" * 256, lambda: ""):
        with pytest.raises(VisitorCodeInvalid):
            _ = Visitor(lambda: client, None, default).code


def test_simulation(client):
    """The simulation cookie decides."""
    experiment = client.get_variation("x", "checkout_design", track=False)
    forced = f'{{"checkout_design": {{"expId": {experiment.experiment_id}, "varId": {experiment.id_}}}}}'
    for number in range(5):
        visitor = Visitor(lambda: client, f"kameleoonSimulationFFData={forced}; {VISITOR_COOKIE}=sim-{number}")
        assert visitor.variation("checkout_design").key == experiment.key


class Scripts(HTMLParser):
    """Finds the script elements of a page."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        """Note an element."""
        self.found.append((tag, attrs))

    def handle_data(self, data):
        """Note text."""
        self.found.append(data)


class TestScript:
    """The script for the web engine."""

    def test_it_tells_of_the_variations(self, client):
        """It is the client's code in one element, which template engines leave as it is."""
        visitor = visitor_of(client, "scripted")
        visitor.variation("checkout_design")
        script = visitor.tracking_script()
        code = client.get_engine_tracking_code("scripted")
        assert "Experiments.assignVariation" in code
        assert Scripts(script).found == [("script", []), code]
        assert jinja2.Environment(autoescape=True).from_string("{{ s }}").render(s=script) == script

    @pytest.mark.parametrize("nonce", ["abc", '"><script>alert(1)</script>', "a b'c&d"])
    def test_nonce(self, client, nonce):
        """The nonce is an attribute whatever it holds."""
        ((tag, attributes), _) = Scripts(visitor_of(client).tracking_script(nonce)).found
        assert (tag, attributes) == ("script", [("nonce", nonce)])

    def test_nothing_ends_the_element_early(self, client, monkeypatch):
        """Text that would end the element in the middle does not."""
        monkeypatch.setattr(client, "get_engine_tracking_code", lambda _: "f('</script><b>','<!--')")
        found = Scripts(visitor_of(client).tracking_script()).found
        assert found == [("script", []), "f('<\\/script><b>','\\x3C!--')"]


class TestOverride:
    """Flags that a test decides."""

    def test_on_and_off(self):
        """It counts in the block, without a client, and nests."""
        visitor = Visitor(no_client, None)
        with override_flag("a", active=True, variables={"n": 1, "s": "x", "b": True, "j": [1]}) as override:
            assert visitor.is_active("a")
            assert visitor.variation("a").key == "on"
            assert [visitor.variable("a", name) for name in "nsbj"] == [1, "x", True, [1]]
            assert visitor.variable("a", "none", 5) == 5
            assert {name: visitor.variation("a").variables[name].type for name in "nsbj"} == {
                "n": "NUMBER",
                "s": "STRING",
                "b": "BOOLEAN",
                "j": "JSON",
            }
            with override_flag("a", active=False), override:
                assert visitor.is_active("a")
            with override_flag("a", variation="off"):
                assert not visitor.is_active("a")
            assert visitor.is_active("a")
        with pytest.raises(AssertionError):
            visitor.is_active("a")

    def test_decorated(self):
        """It counts while a decorated function runs, a coroutine function too."""
        import asyncio

        visitor = Visitor(no_client, None)

        @override_flag("a", variation="blue")
        def plain():
            """Keep this."""
            return visitor.variation("a").key

        @override_flag("a", variation="red")
        async def waiting():
            await asyncio.sleep(0)
            return visitor.variation("a").key

        assert (plain(), asyncio.run(waiting()), plain.__doc__) == ("blue", "red", "Keep this.")

    def test_contradiction(self):
        """A variation that is not what *active* says is refused."""
        with pytest.raises(ValueError, match="not what active=True says"):
            override_flag("a", active=True, variation="off")
