"""Every URL of the wire."""

import json
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from kameleoon._transport.endpoints import Endpoints
from kameleoon.types.remote_visitor_data_filter import RemoteVisitorDataFilter

SITE = "a8st4f59bj"
PLAIN = Endpoints(SITE)
EVERYTHING = RemoteVisitorDataFilter(
    previous_visit_amount=3,
    page_views=True,
    geolocation=True,
    device=True,
    browser=True,
    operating_system=True,
    conversions=True,
    experiments=True,
    kcs=True,
    cbs=True,
    personalization=True,
)


def host(url):
    """Give host and port of *url*."""
    return urlsplit(url).netloc


def hosts(endpoints):
    """Give all hosts of *endpoints*: configuration, stream, token, data."""
    return [host(url) for url in (endpoints.configuration(), endpoints.stream(), endpoints.token(), endpoints.map("k"))]


def test_urls_of_the_specification():
    """Each URL is, to the letter, the one of docs/service/network.md 4.3 to 4.8."""
    assert PLAIN.configuration() == "https://sdk-config.kameleoon.eu/v3/a8st4f59bj"
    assert Endpoints(SITE, "production").configuration(1700000001234) == (
        "https://sdk-config.kameleoon.eu/v3/a8st4f59bj?environment=production&ts=1700000001234"
    )
    assert PLAIN.configuration(0) == "https://sdk-config.kameleoon.eu/v3/a8st4f59bj?ts=0"
    assert PLAIN.stream() == "https://events.kameleoon.eu:8110/sse?siteCode=a8st4f59bj"
    assert PLAIN.token() == (
        "https://api.kameleoon.com/oauth/token?sdkName=PYTHON&sdkVersion=3.22.2&siteCode=a8st4f59bj"
    )
    assert PLAIN.tracking() == (
        "https://data.kameleoon.io/visit/events?sdkName=PYTHON&sdkVersion=3.22.2&siteCode=a8st4f59bj&bodyUa=true"
    )
    assert PLAIN.map("w key") == "https://data.kameleoon.io/map/map?siteCode=a8st4f59bj&key=w%20key"
    assert PLAIN.map("") == "https://data.kameleoon.io/map/map?siteCode=a8st4f59bj"


def test_visitor_parameters_in_their_order():
    """The default filter and the fullest one ask in the order of the wire."""
    assert PLAIN.visitor("v 1", RemoteVisitorDataFilter()) == (
        "https://data.kameleoon.io/visit/visitor?siteCode=a8st4f59bj&visitorCode=v%201&maxNumberPreviousVisits=1"
        "&version=0&staticData=true&currentVisit=true&customData=true"
    )
    assert PLAIN.visitor("v", EVERYTHING, is_mapping_value=True).partition("?")[2] == (
        "siteCode=a8st4f59bj&mappingValue=v&maxNumberPreviousVisits=3&version=0&staticData=true&kcs=true"
        "&currentVisit=true&customData=true&conversion=true&geolocation=true&experiment=true&page=true"
        "&personalization=true&cbs=true"
    )


def test_the_captured_visitor_query_is_the_same_to_a_server():
    """The recorded query, which its client had normalised, decodes to ours."""
    captured = (
        "siteCode=site1&visitorCode=visitor%20%C3%A9/?%26%3D%2B%201~()*!.'-_%25,%3B:@$%22&maxNumberPreviousVisits=1"
        "&version=0&staticData=true&currentVisit=true&customData=true"
    )
    ours = urlsplit(Endpoints("site1").visitor("visitor é/?&=+ 1~()*!.'-_%,;:@$\"", RemoteVisitorDataFilter())).query
    assert parse_qsl(ours) == parse_qsl(captured)


def test_hosts_of_a_customer_domain():
    """Sub-domains of the customer's domain take the place of the service's hosts."""
    assert hosts(Endpoints(SITE, network_domain="kam.example.com")) == [
        "sdk-config.kam.example.com",
        "events.kam.example.com:8110",
        "api.kam.example.com",
        "data.kam.example.com",
    ]


@pytest.mark.parametrize(
    ("network_domain", "expected"),
    [
        (None, "eu-data.kameleoon.io"),
        ("kam.example.com", "eu-data.kam.example.com"),
        ("mydata.com", "eu-data.mydata.com"),
        ("data.data.io", "eu-data.data.data.io"),
        ("localhost", "eu-data.localhost"),
    ],
)
def test_the_data_host_follows_the_configuration(network_domain, expected):
    """The first label of dataApiDomain goes before the customer's domain, whose text stays as it is (faults B14)."""
    endpoints = Endpoints(SITE, network_domain=network_domain).with_data_domain("eu-data.kameleoon.io")
    assert host(endpoints.tracking()) == expected
    # Taken over again, it must not stack up.
    assert host(endpoints.with_data_domain("us-data.kameleoon.io").map("")).startswith("us-data.")
    assert hosts(endpoints)[:3] == hosts(Endpoints(SITE, network_domain=network_domain))[:3]


@pytest.mark.parametrize(
    "domain", [None, "", 7, True, ["x"], {"a": 1}, "a/b", "a b.c", "a.b?x", "@evil.com", "a..b", "x:80"]
)
def test_a_domain_that_is_none_changes_nothing(domain):
    """Anything but a host name keeps the previous host."""
    endpoints = PLAIN.with_data_domain("eu-data.kameleoon.io")
    assert endpoints.with_data_domain(domain) == endpoints


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:8080", "https://relay.example.com/kameleoon/"])
def test_one_base_url_for_all_services(base_url):
    """With a base URL all services live under it, paths unchanged, whatever the configuration says."""
    endpoints = Endpoints(SITE, network_domain="x.com", base_url=base_url).with_data_domain("eu-data.kameleoon.io")
    root = base_url.rstrip("/")
    assert endpoints.configuration() == f"{root}/v3/{SITE}"
    assert endpoints.stream() == f"{root}/sse?siteCode={SITE}"
    assert endpoints.token().startswith(f"{root}/oauth/token?")
    assert endpoints.tracking().startswith(f"{root}/visit/events?")
    assert endpoints.visitor("v", RemoteVisitorDataFilter()).startswith(f"{root}/visit/visitor?")
    assert endpoints.map("k").startswith(f"{root}/map/map?")


@pytest.mark.parametrize(
    "base_url", ["", "localhost:8080", "ftp://h", "http://", "http://u:p@h", "http://h?x=1", "http://h#x"]
)
def test_a_base_url_that_is_none_is_refused(base_url):
    """A base URL is scheme, host, port and path, and nothing else; a password in it is not repeated."""
    with pytest.raises(ValueError, match="base_url") as caught:
        Endpoints(SITE, base_url=base_url)
    assert "u:p" not in str(caught.value)


def test_a_site_code_cannot_break_the_url():
    """Characters that mean something in a URL are encoded; half a surrogate pair is refused at once."""
    parts = urlsplit(Endpoints("a/b?c#d e").configuration())
    assert (parts.path, parts.query, parts.fragment) == ("/v3/a%2Fb%3Fc%23d%20e", "", "")
    with pytest.raises(UnicodeEncodeError):
        Endpoints("\udc00")


def recorded_hosts():
    """Give network_domain, dataApiDomain and hosts by service of the recorded cases that look at hosts."""
    vectors = json.loads((Path(__file__).parents[1] / "vectors" / "network.json").read_text())
    for case in vectors["cases"]:
        found = {}
        for result in case["expect"]:
            values = result.get("returns")
            requests = (
                values if isinstance(values, list) else [values.get("request")] if isinstance(values, dict) else []
            )
            for request in requests:
                if isinstance(request, dict) and "host" in request:
                    found[request["path"].replace("<siteCode>", SITE)] = request["host"]
        if found:
            datafile = vectors["datafiles"][case["datafile"]]
            domain = datafile.get("configuration", {}).get("dataApiDomain")
            yield pytest.param(case["config"].get("network_domain"), domain, found, id=case["id"])


@pytest.mark.parametrize(("network_domain", "data_domain", "expected"), list(recorded_hosts()))
def test_hosts_of_the_recorded_cases(network_domain, data_domain, expected):
    """Hosts are those that the recorded cases of tests/vectors/network.json saw."""
    # What the settings do to the domain before it gets here: docs/service/network.md 2.3.
    trimmed = network_domain and network_domain.lower().removeprefix("https://").removeprefix("http://").strip(".")
    endpoints = Endpoints(SITE, network_domain=trimmed).with_data_domain(data_domain)
    urls = [
        endpoints.configuration(),
        endpoints.token(),
        endpoints.tracking(),
        endpoints.map("k"),
        endpoints.visitor("v", EVERYTHING),
    ]
    ours = {urlsplit(url).path: host(url) for url in urls}
    assert {path: ours[path] for path in expected} == expected
