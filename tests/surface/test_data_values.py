"""What applications tell about a visitor: values, and what is refused."""

import copy
import json
import math
import pickle
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

import kameleoon.data
from kameleoon.data import (
    ApplicationVersion,
    Browser,
    BrowserType,
    Conversion,
    Cookie,
    CustomData,
    Data,
    DataType,
    Device,
    DeviceType,
    Geolocation,
    OperatingSystem,
    OperatingSystemType,
    PageView,
    UniqueIdentifier,
    UserAgent,
)

VECTORS = Path(__file__).parents[1] / "vectors"
NAN = float("nan")
EXAMPLES = [
    (ApplicationVersion("1.2"), DataType.APPLICATION_VERSION, {"version": "1.2"}),
    (Browser(BrowserType.CHROME), DataType.BROWSER, {"browser_type": BrowserType.CHROME, "version": None}),
    (
        Conversion(5, 1.5, True, [CustomData(1, "a")]),
        DataType.CONVERSION,
        {"goal_id": 5, "revenue": 1.5, "negative": True, "metadata": (CustomData(1, "a"),)},
    ),
    (Conversion(5), DataType.CONVERSION, {"goal_id": 5, "revenue": 0.0, "negative": False, "metadata": None}),
    (Cookie({"a": "b"}), DataType.COOKIE, {"cookies": {"a": "b"}}),
    (
        CustomData(3, "a", "b", overwrite=False),
        DataType.CUSTOM_DATA,
        {"index": 3, "name": None, "values": ("a", "b"), "overwrite": False},
    ),
    (CustomData("n"), DataType.CUSTOM_DATA, {"index": -1, "name": "n", "values": (), "overwrite": True}),
    (Device(DeviceType.PHONE), DataType.DEVICE, {"device_type": DeviceType.PHONE}),
    (
        Geolocation("c", "r", "t", "p", 1.5, 2),
        DataType.GEOLOCATION,
        {"country": "c", "region": "r", "city": "t", "postal_code": "p", "latitude": 1.5, "longitude": 2},
    ),
    (OperatingSystem(OperatingSystemType.IOS), DataType.OPERATING_SYSTEM, {"os_type": OperatingSystemType.IOS}),
    (PageView("u", None, [1, 2]), DataType.PAGE_VIEW, {"url": "u", "title": None, "referrers": (1, 2)}),
    (UserAgent("x"), DataType.USER_AGENT, {"value": "x"}),
]


@pytest.mark.parametrize(("value", "data_type", "attributes"), EXAMPLES)
class TestValues:
    """What holds for all data."""

    def test_attributes(self, value, data_type, attributes):
        """The documented names hold what was given."""
        assert isinstance(value, Data)
        assert value.data_type is data_type
        assert {name: getattr(value, name) for name in attributes} == attributes

    def test_copies(self, value, data_type, attributes):
        """Copies and pickles are equal, hash alike and look alike."""
        del data_type, attributes
        for twin in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
            assert twin == value
            assert hash(twin) == hash(value)
            assert repr(twin) == repr(value)

    def test_immutable(self, value, data_type, attributes):
        """One object may be added for many visitors, so nothing can change it."""
        del data_type
        for name in (*attributes, "another"):
            with pytest.raises((AttributeError, TypeError)):
                setattr(value, name, None)
        assert not hasattr(value, "__dict__")


def test_cookies_are_copied():
    """Neither the dictionary given nor the one read can change a value."""
    given = {"a": "b"}
    cookie = Cookie(given)
    given["a"] = "c"
    assert cookie.cookies["a"] == "b"
    with pytest.raises(TypeError):
        cookie.cookies["a"] = "c"


def test_iterables_are_read_once():
    """A generator of metadata or referrers is not used up by the first reader."""
    conversion = Conversion(5, metadata=(CustomData(index) for index in (1, 2)))
    assert conversion.metadata == (CustomData(1), CustomData(2))
    assert PageView("u", None, (index for index in (1, 2))).referrers == (1, 2)


def test_unique_identifier_is_no_data():
    """The identifier's flag is taken beside data and is none itself."""
    assert not isinstance(UniqueIdentifier(True), Data)
    assert UniqueIdentifier(1).value is True


def test_missing_user_agent_header():
    """A request without the header does not fail in the application."""
    assert UserAgent(None).value == ""


def test_custom_data_index_alias():
    """The old name of the index still works, and warns."""
    with pytest.warns(DeprecationWarning, match=r"CustomData\.index"):
        assert CustomData(3).id == 3


def test_custom_data_at_an_index():
    """A name's index can be filled in, in a copy."""
    named = CustomData("loyalty", "gold", overwrite=False)
    resolved = named.at(7)
    assert (resolved.index, resolved.name, resolved.values, resolved.overwrite) == (7, "loyalty", ("gold",), False)
    assert named.index == -1


def test_custom_data_keeps_numbers():
    """Values that are no text are kept as given."""
    assert CustomData(1, 5, 2.5, True, None).values == (5, 2.5, True, None)


def test_money_of_other_kinds():
    """Decimals and fractions are numbers too, and become floats."""
    assert Conversion(1, Decimal("12.50")).revenue == 12.5
    assert Conversion(1, Fraction(1, 2)).revenue == 0.5
    assert Conversion(1, 10).revenue == 10
    assert isinstance(Conversion(1, 10).revenue, int)


def test_subclasses():
    """Data classes can be derived from, whatever becomes of such values later."""

    class Loyalty(CustomData):
        pass

    assert Loyalty(3, "gold").values == ("gold",)


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda: Browser("CHROME"), TypeError, "Browser.browser_type must be a member of BrowserType, not str"),
        (lambda: Browser(0), TypeError, "Browser.browser_type must be a member of BrowserType, not int"),
        (lambda: Browser(BrowserType.CHROME, "90"), TypeError, "Browser.version must be a number, not str"),
        (lambda: Browser(BrowserType.CHROME, NAN), ValueError, "Browser.version must be a finite number"),
        (lambda: Device("PHONE"), TypeError, "Device.device_type must be a member of DeviceType, not str"),
        (lambda: OperatingSystem(2), TypeError, "OperatingSystem.os_type must be a member of OperatingSystemType"),
        (lambda: Geolocation(5), TypeError, "Geolocation.country must be a str, not int"),
        (lambda: Geolocation("c", latitude="1"), TypeError, "Geolocation.latitude must be a number, not str"),
        (lambda: Geolocation("c", longitude=math.inf), ValueError, "Geolocation.longitude must be a finite number"),
        (lambda: Geolocation("c", city="\ud800"), ValueError, "Geolocation.city must be a str that UTF-8 can encode"),
        (lambda: CustomData(1, ["a"]), TypeError, "each of CustomData.values must be a str, not list"),
        (lambda: CustomData(1, b"a"), TypeError, "each of CustomData.values must be a str, not bytes"),
        (lambda: CustomData(1, "a\udfff"), ValueError, "each of CustomData.values must be a str that UTF-8 can"),
        (lambda: CustomData(None), TypeError, "CustomData.index_or_name must be an int or a str, not NoneType"),
        (lambda: CustomData("\ud800"), ValueError, "CustomData.name must be a str that UTF-8 can encode"),
        (lambda: CustomData(1, overwrite="no"), TypeError, "CustomData.overwrite must be a bool, not str"),
        (lambda: Conversion("5"), TypeError, "Conversion.goal_id must be an int, not str"),
        (lambda: Conversion(True), TypeError, "Conversion.goal_id must be an int, not bool"),
        (lambda: Conversion(5.0), TypeError, "Conversion.goal_id must be an int, not float"),
        (lambda: Conversion(5, "1"), TypeError, "Conversion.revenue must be a number, not str"),
        (lambda: Conversion(5, None), TypeError, "Conversion.revenue must be a number, not NoneType"),
        (lambda: Conversion(5, True), TypeError, "Conversion.revenue must be a number, not bool"),
        (lambda: Conversion(5, NAN), ValueError, "Conversion.revenue must be a finite number, this float is NaN"),
        (lambda: Conversion(5, -math.inf), ValueError, "Conversion.revenue must be a finite number"),
        (lambda: Conversion(5, 10**400), ValueError, "Conversion.revenue must be a finite number, this int"),
        (lambda: Conversion(5, Decimal("sNaN")), ValueError, "Conversion.revenue must be a finite number"),
        (lambda: Conversion(5, negative="false"), TypeError, "Conversion.negative must be a bool, not str"),
        (lambda: Conversion(5, metadata=["a"]), TypeError, "each of Conversion.metadata must be a CustomData, not str"),
        (lambda: Conversion(5, metadata=CustomData(1)), TypeError, "Conversion.metadata must be a list of CustomData"),
        (lambda: PageView(None, None), TypeError, "PageView.url must be a str, not NoneType"),
        (lambda: PageView("u", 5), TypeError, "PageView.title must be a str, not int"),
        (lambda: PageView("u", None, ["1"]), TypeError, "each of PageView.referrers must be an int, not str"),
        (lambda: PageView("u", None, "12"), TypeError, "PageView.referrers must be a list of int, not str"),
        (lambda: PageView("u", None, 5), TypeError, "PageView.referrers must be a list of int, not int"),
        (lambda: UserAgent(b"x"), TypeError, "UserAgent.value must be a str, not bytes"),
        (lambda: ApplicationVersion(1.2), TypeError, "ApplicationVersion.version must be a str, not float"),
        (lambda: Cookie(["a"]), TypeError, "Cookie.cookies must be a dict of str to str, not list"),
        (lambda: Cookie({"a": 1}), TypeError, "each value in Cookie.cookies must be a str, not int"),
        (lambda: Cookie({1: "a"}), TypeError, "each name in Cookie.cookies must be a str, not int"),
        (lambda: UniqueIdentifier("yes"), TypeError, "UniqueIdentifier.value must be a bool, not str"),
    ],
)
def test_refused(make, kind, text):
    """What could not be sent is refused where it is made, with class, field, type and what was expected."""
    with pytest.raises(kind) as caught:
        make()
    assert type(caught.value) is kind
    assert str(caught.value).startswith(text)


def test_refusals_hold_no_visitor_data():
    """A refused value may be personal, so the error does not repeat it."""
    with pytest.raises(ValueError, match=r"CustomData\.values") as caught:
        CustomData(1, "ann@example.com\ud800")
    assert "ann" not in str(caught.value)


def recorded_data():
    """Give each distinct data object that the recorded cases add."""
    seen = {}

    def walk(node):
        if isinstance(node, dict):
            if node.get("op") in ("add_data", "track_conversion"):
                if node["op"] == "track_conversion":
                    fields = ("goal_id", "revenue", "negative", "metadata")
                    node = {"data": [{"type": "Conversion"} | {key: node[key] for key in fields if key in node}]}
                for item in node["data"]:
                    seen[json.dumps(item, sort_keys=True)] = item
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    for path in sorted(VECTORS.glob("*.json")):
        walk(json.loads(path.read_text(encoding="utf-8"))["cases"])
    return list(seen.values())


def build(item):
    """Make the object that a recorded description stands for."""
    fields = {key: value for key, value in item.items() if key != "type"}
    if item["type"] == "CustomData":
        first = fields.pop("index") if "index" in fields else fields.pop("name")
        return CustomData(first, *fields.pop("values", []), **fields)
    for name, kind in (("browser_type", BrowserType), ("device_type", DeviceType), ("os_type", OperatingSystemType)):
        if name in fields:
            fields[name] = kind[fields[name]]
    if item["type"] == "PageView":
        fields.setdefault("title", None)
    if "metadata" in fields:
        fields["metadata"] = [build(entry) for entry in fields["metadata"]]
    return getattr(kameleoon.data, item["type"])(**fields)


def test_everything_recorded_can_be_made():
    """No check refuses what the recorded cases add."""
    items = recorded_data()
    assert len(items) > 500
    for item in items:
        build(item)


def test_exports():
    """The package exports the vendor's names, in order."""
    assert sorted(kameleoon.data.__all__) == kameleoon.data.__all__
    assert all(hasattr(kameleoon.data, name) for name in kameleoon.data.__all__)


def test_imports_little():
    """Making data loads neither the network libraries, nor YAML, nor logging."""
    code = (
        "import sys, kameleoon.data\n"
        "print([n for n in ('yaml', 'requests', 'aiohttp', 'asyncio', 'kameleoon.logging', 'kameleoon.config') "
        "if n in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
