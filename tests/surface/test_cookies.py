"""The rules of our cookies: read tolerantly, written strictly."""

import json
import locale
from http.cookies import Morsel, SimpleCookie
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kameleoon.cookies import (
    SIMULATION_COOKIE,
    VISITOR_COOKIE,
    CookiePolicy,
    code_sent,
    header_with,
    is_usable,
    is_visitor_cookie,
    parse_header,
    read_simulation,
    visitor_code_in,
)

NOW_S = 1_750_000_000.9
CODES = st.text(min_size=1, max_size=255).filter(is_usable)


class TestReading:
    """Headers of requests."""

    @pytest.mark.parametrize(
        ("header", "cookies"),
        [
            (None, {}),
            ("", {}),
            ("a=b", {"a": "b"}),
            ("a=b; ;c", {"a": "b"}),
            ("foo[1]=x; a=b", {"foo[1]": "x", "a": "b"}),
            ("é=ü; a=b", {"é": "ü", "a": "b"}),
            ("=x; a=b", {"a": "b"}),
            ("a=b=c", {"a": "b=c"}),
            ("a=", {"a": ""}),
            (" a = b ;c=d", {"a": "b", "c": "d"}),
            ("a=1; a=2", {"a": "2"}),
            ('a="x y"', {"a": "x y"}),
            (r'a="d \351\073\"x\\"', {"a": 'd é;"x\\'}),
            ('a="', {"a": '"'}),
            ('a="b', {"a": '"b'}),
            ('a=""', {"a": ""}),
            ("a=b, c=d; e=f", {"a": "b, c=d", "e": "f"}),
            ("path=/; expires=x; a=b", {"path": "/", "expires": "x", "a": "b"}),
            ('a={"b": 1}; c=d', {"a": '{"b": 1}', "c": "d"}),
        ],
    )
    def test_header(self, header, cookies):
        """Each well-formed cookie is read, whatever stands beside it."""
        assert parse_header(header) == cookies

    @pytest.mark.parametrize("noise", ["foo[1]=x", "a=b; ;c", "ü=é", "x", '"', "a\x00b=c", "=", "@=,", "a b=c d"])
    def test_ours_is_found_beside_any_other(self, noise):
        """A malformed cookie of another site does not hide ours."""
        for header in (f"{noise}; {VISITOR_COOKIE}=abc", f"{VISITOR_COOKIE}=abc; {noise}"):
            assert visitor_code_in(parse_header(header)) == "abc"

    @given(st.text(max_size=300))
    def test_anything_is_read(self, header):
        """No header raises."""
        assert all(name and name == name.strip() for name in parse_header(header))

    def test_size_is_bounded(self):
        """Only the beginning of an endless header is read."""
        cookies = parse_header(f"{VISITOR_COOKIE}=abc; " + "a=b; " * 1_000_000 + "last=1")
        assert cookies == {VISITOR_COOKIE: "abc", "a": "b"}

    @given(st.dictionaries(st.from_regex(r"[a-z0-9!#$%&'*+.^_`|~-]+", fullmatch=True), CODES, max_size=5))
    def test_agrees_with_the_standard_library(self, cookies):
        """Cookies that the standard library writes are read as they were."""
        jar = SimpleCookie()
        attributes = {"expires", "path", "comment", "domain", "max-age", "secure", "httponly", "version", "samesite"}
        cookies = {name: value for name, value in cookies.items() if name not in attributes}
        for name, value in cookies.items():
            jar[name] = value
        header = "; ".join(f"{name}={morsel.coded_value}" for name, morsel in jar.items())
        assert parse_header(header) == cookies


class TestVisitorCode:
    """The visitor code among cookies."""

    def test_strings_and_morsels(self):
        """A code may stand there as text or as a morsel; empty is absent."""
        jar = SimpleCookie()
        jar[VISITOR_COOKIE] = "a b"
        assert visitor_code_in(jar) == "a b"
        assert visitor_code_in({VISITOR_COOKIE: '"quoted"'}) == '"quoted"'
        assert visitor_code_in({VISITOR_COOKIE: ""}) is None
        jar[VISITOR_COOKIE] = ""
        assert visitor_code_in(jar) is None
        assert visitor_code_in({}) is None
        assert visitor_code_in({VISITOR_COOKIE: 5}) is None

    @pytest.mark.parametrize(
        ("code", "usable"),
        [
            ("a", True),
            ("a" * 255, True),
            ("a" * 256, False),
            ("x" * 10_000, False),
            ("", False),
            (" ", True),
            ("é€😀", True),
            ("é€".encode().decode("latin-1"), True),
            ("a\nb", False),
            ("a\x00", False),
            ("a\x7f", False),
            ("a\ud800", False),
        ],
    )
    def test_is_usable(self, code, usable):
        """A code from a browser is used unless it is empty, too long, or cannot be sent."""
        assert is_usable(code) is usable

    @pytest.mark.parametrize(
        ("value", "code"),
        [
            (b"abc", "abc"),
            ("日本".encode(), "日本"),
            (b"\xe9", "é"),
            (rb'"\351"', "é"),
            (b"a" * 255, "a" * 255),
            ("é".encode() * 255, "é" * 255),
            (b"a" * 256, None),
            (b"a\x01", None),
            (rb'"\012"', None),
            (b"", None),
        ],
    )
    def test_code_sent(self, value, code):
        """The bytes of a code are UTF-8 where they can be; what cannot be used is absent."""
        header = f"{VISITOR_COOKIE}={value.decode('latin-1')}"
        assert code_sent(parse_header(header)) == code


class TestPuttingIn:
    """The visitor cookie in the header that the application sees."""

    @pytest.mark.parametrize(
        ("header", "result"),
        [
            ("", f"{VISITOR_COOKIE}=new"),
            (";", f"{VISITOR_COOKIE}=new"),
            ("a=b", f"a=b; {VISITOR_COOKIE}=new"),
            (f"{VISITOR_COOKIE}=", f"{VISITOR_COOKIE}=new"),
            (f"a=b;{VISITOR_COOKIE}=x; c[1]=d;e", f"a=b; c[1]=d;e; {VISITOR_COOKIE}=new"),
            (f"{VISITOR_COOKIE}=x; {VISITOR_COOKIE}=y; a=b", f"a=b; {VISITOR_COOKIE}=new"),
            (f"x{VISITOR_COOKIE}=x", f"x{VISITOR_COOKIE}=x; {VISITOR_COOKIE}=new"),
        ],
    )
    def test_one_visitor_cookie(self, header, result):
        """There is exactly one afterwards, and the others are as they were."""
        assert header_with(header, "new") == result

    @given(CODES)
    def test_any_code(self, code):
        """Whatever the code, it is read as it was put in."""
        assert code_sent(parse_header(header_with("a=b", code))) == code

    def test_ours_is_known(self):
        """A ``Set-Cookie`` of the visitor cookie is told from others."""
        assert is_visitor_cookie(f" {VISITOR_COOKIE}=a; Path=/")
        assert not is_visitor_cookie(f"other={VISITOR_COOKIE}=a")
        assert not is_visitor_cookie(f"{VISITOR_COOKIE}2=a")


class TestWriting:
    """Our cookie."""

    def test_header(self):
        """The header is the service's, byte for byte."""
        assert CookiePolicy("example.com").header("e478b44c538ba58f", NOW_S) == (
            "kameleoonVisitorCode=e478b44c538ba58f; Domain=example.com; expires=Tue, 30 Jun 2026 15:06:40 GMT; "
            "Max-Age=32832000; Path=/"
        )

    def test_without_domain(self):
        """Without a domain the cookie has none."""
        assert "omain" not in CookiePolicy().header("a", NOW_S)

    def test_quoting(self):
        """Codes are quoted as the standard library does."""
        assert CookiePolicy().header('d é;"x', NOW_S).startswith(r'kameleoonVisitorCode="d \351\073\"x"; expires=')

    @pytest.mark.parametrize("samesite", ["Strict", "Lax", "None"])
    def test_attributes_by_setting(self, samesite):
        """SameSite and Secure are there only by setting."""
        header = CookiePolicy(secure=True, samesite=samesite).header("a", NOW_S)
        assert f"SameSite={samesite}" in header.split("; ")
        assert "Secure" in header.split("; ")
        assert not {"Secure", "HttpOnly"} & set(CookiePolicy().header("a", NOW_S).split("; "))

    @given(CODES)
    @example('d é;"x')
    @example("Ã©")
    @example("日本é")
    def test_round_trip(self, code):
        """What is written is ASCII in one piece, and comes back."""
        written = CookiePolicy("example.com").header(code, NOW_S)
        assert written.isascii()
        assert code_sent(parse_header(f"a=b; {written.split(';')[0]}; c=d")) == code

    @given(CODES)
    def test_morsel(self, code):
        """The morsel holds the code and fits into a jar."""
        morsel = CookiePolicy("example.com").morsel(code, NOW_S)
        assert isinstance(morsel, Morsel)
        jar = SimpleCookie()
        jar[VISITOR_COOKIE] = morsel
        assert visitor_code_in(jar) == code
        assert {name: value for name, value in morsel.items() if value} == {
            "domain": "example.com",
            "expires": "Tue, 30 Jun 2026 15:06:40 GMT",
            "max-age": "32832000",
            "path": "/",
        }

    def test_removal(self):
        """A removed cookie has the same place and a time gone by."""
        policy = CookiePolicy("example.com", secure=True, samesite="Lax")
        assert policy.removal_header(NOW_S) == (
            'kameleoonVisitorCode=""; Domain=example.com; expires=Fri, 31 May 2024 15:06:40 GMT; Max-Age=0; Path=/; '
            "SameSite=Lax; Secure"
        )
        assert policy.removal(NOW_S).value == ""

    def test_independent_of_locale(self):
        """Dates are English whatever the process's locale."""
        before = locale.setlocale(locale.LC_TIME)
        try:
            for name in ("de_DE.UTF-8", "fr_FR.UTF-8", "C.UTF-8"):
                try:
                    locale.setlocale(locale.LC_TIME, name)
                except locale.Error:
                    continue
                assert "Tue, 30 Jun 2026" in CookiePolicy().header("a", NOW_S)
        finally:
            locale.setlocale(locale.LC_TIME, before)


class TestSimulation:
    """The simulation cookie."""

    def test_name(self):
        """The cookie has the service's name."""
        assert SIMULATION_COOKIE == "kameleoonSimulationFFData"

    @given(st.dictionaries(st.text(), st.integers() | st.text() | st.none()))
    def test_object(self, simulation):
        """A JSON object is read, percent-encoded as browsers write it."""
        assert read_simulation(quote(json.dumps(simulation))) == simulation

    def test_plain_object(self):
        """A JSON object that was not encoded is read, too."""
        assert read_simulation('{"flag": {"expId": 1, "varId": 2}}') == {"flag": {"expId": 1, "varId": 2}}

    @pytest.mark.parametrize(
        "raw", ["", "null", "[]", "%5B%5D", "5", "{", "%", "x", "[" * 60_000, '{"a": ' * 9_000, "{}" + " " * 65_536]
    )
    def test_anything_else(self, raw):
        """What is no JSON object gives nothing, and does not raise."""
        assert read_simulation(raw) is None
