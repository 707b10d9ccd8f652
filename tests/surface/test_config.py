"""Settings: where they come from, what they become, and what is refused."""

import json
import logging
import os
import re
import traceback
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kameleoon import exceptions
from kameleoon._settings.readers import SETTINGS
from kameleoon.config import KameleoonClientConfig
from kameleoon.exceptions import ConfigCredentialsInvalid, ConfigException, ConfigFileNotFound

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample-config" / "client-python.yaml"
RECORDED = [
    pytest.param(action, expected, id=f"{case['id']}-{position}")
    for case in json.loads((ROOT / "tests" / "vectors" / "errors.json").read_text(encoding="utf-8"))["cases"]
    for position, (action, expected) in enumerate(zip(case["actions"], case["expect"], strict=True))
    if action["op"] in ("create_config", "read_config")
]


def config_of(**arguments):
    """Make a configuration with credentials."""
    return KameleoonClientConfig("identifier", "top-secret", **arguments)


def file_with(tmp_path, text):
    """Write a file and give its path."""
    path = tmp_path / "client-python.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def read(tmp_path, text):
    """Read a file with credentials and *text*."""
    return KameleoonClientConfig.read_from_yaml(file_with(tmp_path, "client_id: a\nclient_secret: b\n" + text))


class TestRecorded:
    """What the service's own SDK was seen to do."""

    @pytest.mark.parametrize(("action", "expected"), RECORDED)
    def test_recorded_case(self, action, expected, tmp_path):
        """Every recorded configuration gives the recorded properties or exception."""
        arguments = {name: value for name, value in action.items() if name != "op"}

        def make():
            if action["op"] == "create_config":
                return KameleoonClientConfig(**arguments)
            return KameleoonClientConfig.read_from_yaml(file_with(tmp_path, arguments["yaml"]))

        if "raises" in expected:
            with pytest.raises(getattr(exceptions, expected["raises"])):
                make()
        else:
            config = make()
            assert {name: getattr(config, name) for name in expected["returns"]} == expected["returns"]


class TestArguments:
    """Settings given in code."""

    def test_positional_order(self):
        """The first eleven arguments stand in the vendor's order."""
        with pytest.warns(DeprecationWarning, match="set_logger"):
            config = KameleoonClientConfig(
                "i", "s", 1, 2, 3000, "staging", "example.com", logging.getLogger("x"), False, 4000, "net.example.com"
            )
        settings = config.freeze()
        assert (settings.client_id, settings.client_secret) == ("i", "s")
        assert (settings.refresh_interval_s, settings.session_duration_s) == (60, 120)
        assert (settings.timeout_s, settings.tracking_interval_s) == (3.0, 4.0)
        assert (settings.environment, settings.top_level_domain) == ("staging", "example.com")
        assert (settings.logger, settings.multi_threading) == (logging.getLogger("x"), False)
        assert settings.network_domain == "net.example.com"

    def test_defaults(self):
        """Without arguments each setting has its documented default."""
        settings = config_of().freeze()
        assert (settings.refresh_interval_s, settings.session_duration_s, settings.timeout_s) == (3600, 1800, 10)
        assert (settings.tracking_interval_s, settings.exit_timeout_s, settings.regex_timeout_s) == (1, 2, 0.05)
        assert (settings.environment, settings.top_level_domain, settings.network_domain) == (None, "", None)
        assert (settings.base_url, settings.multi_threading, settings.data_dir) == (None, None, None)
        assert (settings.max_visitors, settings.visitor_store, settings.source) == (1_000_000, None, None)
        assert (settings.cookie_secure, settings.cookie_samesite) == (False, None)
        assert settings.cookie_removed_on_refusal is False
        assert settings.logger is None

    @pytest.mark.parametrize(("millisecond", "second"), [(500, 0.5), (1500, 1.5), (10_000, 10), (1, 0.001)])
    def test_timeout_keeps_its_fraction(self, millisecond, second):
        """A timeout below or between whole seconds is used exactly."""
        config = config_of(default_timeout_millisecond=millisecond)
        assert config.default_timeout_second == second
        assert config.freeze().timeout_s == second

    @pytest.mark.parametrize(
        ("name", "value", "attribute", "used", "text"),
        [
            ("refresh_interval_minute", 0, "refresh_interval_s", 3600, "60 is used"),
            ("session_duration_minute", -2, "session_duration_s", 1800, "30 is used"),
            ("default_timeout_millisecond", -1, "timeout_s", 10, "10000 is used"),
            ("tracking_interval_millisecond", 100, "tracking_interval_s", 1, "1000 is used"),
            ("tracking_interval_millisecond", 9000, "tracking_interval_s", 5, "5000 is used"),
            ("exit_timeout_millisecond", -1, "exit_timeout_s", 2, "2000 is used"),
            ("regex_timeout_millisecond", 0, "regex_timeout_s", 0.05, "50 is used"),
            ("max_visitors", 0, "max_visitors", 1_000_000, "1e+06 is used"),
            ("session_duration_minute", 1e300, "session_duration_s", 3_153_600_000, "is used"),
        ],
    )
    def test_out_of_range(self, name, value, attribute, used, text, caplog):
        """A number out of range is replaced, and the warning names setting, value and what is used."""
        settings = config_of(**{name: value}).freeze()
        assert getattr(settings, attribute) == pytest.approx(used)
        message = next(record.getMessage() for record in caplog.records if name in record.getMessage())
        assert message.startswith(f"Kameleoon [WARNING]: Setting {name} is {value!r}, allowed is ")
        assert text in message

    @pytest.mark.parametrize(
        ("name", "value", "allowed"),
        [
            ("refresh_interval_minute", "soon", "a number of minutes, above 0"),
            ("refresh_interval_minute", True, "a number of minutes, above 0"),
            ("session_duration_minute", float("nan"), "a number of minutes, above 0"),
            ("default_timeout_millisecond", float("inf"), "a number of milliseconds, above 0"),
            ("default_timeout_millisecond", 10**400, "a number of milliseconds, above 0"),
            ("tracking_interval_millisecond", [], "a number of milliseconds from 1000 to 5000"),
            ("environment", 5, "text"),
            ("top_level_domain", 5, "a domain such as example.com"),
            ("top_level_domain", "example.com; Secure", "a domain such as example.com"),
            ("network_domain", "a\r\nb", "a domain such as example.com"),
            ("multi_threading", "no", "true or false"),
            ("data_dir", 5, "the path of a directory"),
            ("max_visitors", 2.5, "a whole number of visitors, above 0"),
            ("base_url", "localhost:8080", "an http or https URL"),
            ("base_url", "ftp://localhost", "an http or https URL"),
            ("base_url", "https://user:word@localhost", "an http or https URL"),
            ("base_url", "https://localhost:99999", "an http or https URL"),
            ("base_url", "https://", "an http or https URL"),
            ("base_url", "https://localhost/?a=b", "an http or https URL"),
            ("cookie_secure", 1, "true or false"),
            ("cookie_samesite", "Laxer", "Strict, Lax or None"),
            ("cookie_removed_on_refusal", "", "true or false"),
        ],
    )
    def test_wrong_type(self, name, value, allowed):
        """A value that cannot be meant is refused at once, naming setting, value and what is allowed."""
        with pytest.raises(ConfigException) as caught:
            config_of(**{name: value})
        assert f"argument {name} is " in caught.value.message
        assert f"allowed is {allowed}" in caught.value.message

    @pytest.mark.parametrize(
        ("identifier", "secret", "text"),
        [
            ("", "", "Client ID is not specified"),
            ("i", "", "Client secret is not specified"),
            (None, "s", "Client ID is not specified"),
        ],
    )
    def test_credentials_missing(self, identifier, secret, text):
        """A missing credential is refused with the vendor's text, the identifier first."""
        with pytest.raises(ConfigCredentialsInvalid) as caught:
            KameleoonClientConfig(identifier, secret)
        assert caught.value.message == f"Kameleoon error: {text}"

    def test_credentials_of_wrong_type(self):
        """A secret that is no string is refused without being shown."""
        with pytest.raises(ConfigCredentialsInvalid) as caught:
            KameleoonClientConfig("i", ["the-secret"])
        assert "the-secret" not in caught.value.message
        assert "of type list" in caught.value.message

    def test_source_needs_no_credentials(self):
        """With a source of its own a client uses no network, so credentials default to nothing."""
        settings = KameleoonClientConfig(source={"featureFlags": []}).freeze()
        assert (settings.client_id, settings.client_secret) == ("", "")
        assert settings.source == {"featureFlags": []}

    def test_base_url_loses_its_slash(self):
        """A base URL is joined with paths, so it ends without a slash."""
        assert config_of(base_url="http://localhost:8080/relay/").freeze().base_url == "http://localhost:8080/relay"

    def test_samesite_none_needs_secure(self):
        """Browsers refuse SameSite=None without Secure, so the client is not made."""
        assert config_of(cookie_samesite="none", cookie_secure=True).freeze().cookie_samesite == "None"
        with pytest.raises(ConfigException, match="cookie_secure"):
            config_of(cookie_samesite="None").freeze()

    def test_data_dir_is_a_path(self, tmp_path):
        """A directory may be given as text or path; an empty one is none."""
        assert config_of(data_dir=str(tmp_path)).freeze().data_dir == tmp_path
        assert config_of(data_dir="").data_dir is None

    def test_setters(self):
        """Setters follow the constructor's rules, and None goes back to the default."""
        config = config_of(environment="a")
        config.set_environment("b")
        config.set_refresh_interval_minute(5)
        config.set_session_duration_minute(6)
        config.set_default_timeout_millisecond(700)
        config.set_tracking_interval_millisecond(2000)
        config.set_top_level_domain("https://Example.com")
        config.set_network_domain("net.example.com.")
        config.set_multi_threading(False)
        settings = config.freeze()
        assert (settings.environment, settings.refresh_interval_s, settings.session_duration_s) == ("b", 300, 360)
        assert (settings.timeout_s, settings.tracking_interval_s) == (0.7, 2)
        assert (settings.top_level_domain, settings.network_domain) == ("example.com", "net.example.com")
        assert settings.multi_threading is False
        config.set_environment(None)
        assert config.freeze().environment is None
        with pytest.raises(ConfigException, match="refresh_interval_minute"):
            config.set_refresh_interval_minute("soon")
        with pytest.warns(DeprecationWarning, match="KameleoonLogger"):
            config.set_logger(logging.getLogger("x"))
        assert config.freeze().logger is logging.getLogger("x")


class TestDomains:
    """Domains are corrected as the vendor's SDK corrects them."""

    @pytest.mark.parametrize(
        ("given", "top_level", "network"),
        [
            ("HTTPS://Example.COM", "example.com", "example.com"),
            ("http://http://example.com", "http://example.com", None),
            ("localhost", "localhost", "localhost"),
            ("localhost:8000", "localhost:8000", None),
            ("..Example.com..", "..example.com..", "example.com"),
            (".example.com", ".example.com", "example.com"),
            ("example.com.", "example.com.", "example.com"),
            ("www.example.com", "www.example.com", "www.example.com"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
            ("a_b.example.com", "a_b.example.com", None),
            ("-a.example.com", "-a.example.com", None),
            ("a-.example.com", "a-.example.com", None),
            ("bücher.example", "bücher.example", None),
            ("example", "example", None),
            ("example.com/path", "example.com/path", None),
            (".".join("a" * 127), ".".join("a" * 127), ".".join("a" * 127)),
            (".".join("a" * 128), ".".join("a" * 128), None),
            ("", "", None),
        ],
    )
    def test_domain(self, given, top_level, network):
        """A bad cookie domain is kept as given, a bad network domain is not used."""
        config = config_of(top_level_domain=given, network_domain=given)
        assert (config.top_level_domain, config.network_domain) == (top_level, network)

    @given(st.text(alphabet="ab-._/:0 hts", max_size=200))
    def test_any_text_is_answered_fast(self, text):
        """No text makes a domain setting fail or backtrack."""
        config = config_of(top_level_domain=text, network_domain=text)
        assert config.network_domain is None or "." in config.network_domain or config.network_domain == "localhost"


class TestSecrets:
    """Credentials are never shown."""

    @pytest.mark.parametrize(
        ("secret", "shown"), [("top-secret", "****cret"), ("abcde", "****bcde"), ("abcd", "****"), ("abc", "***")]
    )
    def test_repr(self, secret, shown):
        """Only stars and the last four characters of a credential are shown, only stars when it is short."""
        config = KameleoonClientConfig(secret, secret)
        for text in (repr(config), str(config), f"{config}"):
            assert secret not in text
            assert f"client_id='{shown}'" in text
            assert f"client_secret='{shown}'" in text

    def test_settings_repr(self):
        """The frozen settings do not show the secret."""
        assert "top-secret" not in repr(config_of().freeze())

    def test_problem_with_a_secret(self, tmp_path):
        """A secret of a wrong type is refused without being shown."""
        path = file_with(tmp_path, "client_id: a\nclient_secret: [verysecret]\n")
        config = KameleoonClientConfig.read_from_yaml(path)
        with pytest.raises(ConfigCredentialsInvalid) as caught:
            config.freeze()
        assert "verysecret" not in str(caught.value)
        assert "verysecret" not in repr(config)

    @pytest.mark.parametrize("written", ['"verysecret', "!!bool verysecret", "!!int verysecret"])
    def test_bad_yaml_with_a_secret(self, tmp_path, written):
        """A YAML error quotes nothing of the file, in its text and in its traceback."""
        path = file_with(tmp_path, f"client_id: a\nclient_secret: {written}\n")
        with pytest.raises(ConfigException) as caught:
            KameleoonClientConfig.read_from_yaml(path)
        assert "verysecret" not in "".join(traceback.format_exception(caught.value))

    @pytest.mark.parametrize(
        "url", ["https://user:verysecret@host", "user:verysecret@host", "ftp://user:very@secret@host", "https://a:b/@c"]
    )
    def test_base_url_with_a_password(self, url):
        """A base URL with a user is refused without showing the user or the password."""
        with pytest.raises(ConfigException) as caught:
            config_of(base_url=url)
        assert "'****@" in caught.value.message
        assert not any(part in caught.value.message for part in ("user:", "very", "secret", "a:b"))


class TestEnvironment:
    """Environment variables."""

    def test_credentials(self, monkeypatch):
        """A client can be configured by the environment alone."""
        monkeypatch.setenv("KAMELEOON_CLIENT_ID", "env-id")
        monkeypatch.setenv("KAMELEOON_CLIENT_SECRET", "env-secret")
        settings = KameleoonClientConfig().freeze()
        assert (settings.client_id, settings.client_secret) == ("env-id", "env-secret")

    def test_precedence(self, monkeypatch, tmp_path):
        """Variables count before the file, arguments before variables."""
        monkeypatch.setenv("KAMELEOON_REFRESH_INTERVAL_MINUTE", "7.5")
        monkeypatch.setenv("KAMELEOON_CLIENT_ID", "env-id")
        config = read(tmp_path, "refresh_interval_minute: 3\nsession_duration_minute: 4\n")
        assert (config.refresh_interval_second, config.session_duration_second) == (450, 240)
        assert (config.client_id, config.client_secret) == ("env-id", "b")
        assert config_of(refresh_interval_minute=9).refresh_interval_second == 540
        assert config_of(refresh_interval_minute=9).client_id == "identifier"
        assert config_of().refresh_interval_second == 450

    def test_every_kind_of_value(self, monkeypatch):
        """Texts of the environment become numbers, booleans, paths and URLs."""
        given = {
            "DEFAULT_TIMEOUT_MILLISECOND": "1500",
            "TRACKING_INTERVAL_MILLISECOND": " 2000 ",
            "ENVIRONMENT": "staging",
            "MULTI_THREADING": "Off",
            "DATA_DIR": "/var/lib/k",
            "MAX_VISITORS": "12",
            "BASE_URL": "http://localhost:8080/",
            "COOKIE_SECURE": "1",
            "COOKIE_SAMESITE": "none",
            "COOKIE_REMOVED_ON_REFUSAL": "true",
            "SOURCE": "/etc/data-file.json",
        }
        for name, value in given.items():
            monkeypatch.setenv(f"KAMELEOON_{name}", value)
        settings = KameleoonClientConfig().freeze()
        assert (settings.timeout_s, settings.tracking_interval_s, settings.environment) == (1.5, 2, "staging")
        assert (settings.multi_threading, settings.data_dir) == (False, Path("/var/lib/k"))
        assert (settings.max_visitors, settings.base_url) == (12, "http://localhost:8080")
        assert (settings.cookie_secure, settings.cookie_samesite) == (True, "None")
        assert settings.cookie_removed_on_refusal is True
        assert settings.source == "/etc/data-file.json"

    def test_empty_is_nothing(self, monkeypatch):
        """An empty variable, as container tools set them, stands for nothing given."""
        monkeypatch.setenv("KAMELEOON_REFRESH_INTERVAL_MINUTE", "")
        assert config_of().refresh_interval_second == 3600

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("REFRESH_INTERVAL_MINUTE", "soon"),
            ("REFRESH_INTERVAL_MINUTE", "nan"),
            ("MAX_VISITORS", "1.5"),
            ("COOKIE_SECURE", "maybe"),
            ("BASE_URL", "localhost"),
        ],
    )
    def test_wrong_value(self, monkeypatch, name, value):
        """A wrong variable is refused by its name."""
        monkeypatch.setenv(f"KAMELEOON_{name}", value)
        with pytest.raises(ConfigException, match=f"environment variable KAMELEOON_{name} is .*allowed is "):
            config_of()

    def test_variable_replaces_a_wrong_value(self, monkeypatch, tmp_path):
        """What a variable replaces in the file need not be right."""
        monkeypatch.setenv("KAMELEOON_REFRESH_INTERVAL_MINUTE", "5")
        assert read(tmp_path, "refresh_interval_minute: soon\n").freeze().refresh_interval_s == 300


class TestFile:
    """Settings in a file."""

    def test_missing(self, tmp_path):
        """A missing file has an error of its own that names the path."""
        path = tmp_path / "none.yaml"
        with pytest.raises(ConfigFileNotFound) as caught:
            KameleoonClientConfig.read_from_yaml(str(path))
        assert caught.value.message == f"Kameleoon error: No config file {path} or config object is found"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "it is empty"),
            ("# nothing\n", "it is empty"),
            ("{}", "it is empty"),
            ("- client_id: a\n", "it is list"),
            ("text", "it is str"),
            ("client_id: [\n", "is not YAML: "),
            ("client_id: !!python/object/apply:os.getcwd []\n", "is not YAML: "),
            ("date: 2001-13-45\n", "is not YAML"),
            ("cookie_secure: !!bool maybe\n", "is not YAML"),
            ("max_visitors: !!int ''\n", "is not YAML"),
            ("environment: !!timestamp never\n", "is not YAML"),
            ("[" * 5000, "is not YAML"),
        ],
    )
    def test_no_settings(self, tmp_path, text, said):
        """A file that holds no settings is refused when it is read, by its name."""
        path = file_with(tmp_path, text)
        with pytest.raises(ConfigException) as caught:
            KameleoonClientConfig.read_from_yaml(path)
        assert str(path) in caught.value.message
        assert said in caught.value.message

    def test_not_utf8(self, tmp_path):
        """A file in another encoding is refused by its name."""
        path = tmp_path / "latin.yaml"
        path.write_bytes(b"client_id: caf\xe9\n")
        with pytest.raises(ConfigException, match=r"latin\.yaml is not YAML"):
            KameleoonClientConfig.read_from_yaml(path)

    def test_unreadable(self, tmp_path):
        """A directory in the file's place is refused by its name."""
        with pytest.raises(ConfigException, match="cannot be read") as caught:
            KameleoonClientConfig.read_from_yaml(tmp_path)
        assert str(tmp_path) in caught.value.message

    def test_all_problems_at_once(self, tmp_path):
        """Freezing names file, key, value and what is allowed of everything that is wrong."""
        config = read(tmp_path, "refresh_interval_minute: soon\nenvironment: 5\nlogger: x\ncolour: red\n")
        assert config.refresh_interval_second == 3600
        assert config.environment is None
        with pytest.raises(ConfigException) as caught:
            config.freeze()
        message = caught.value.message
        path = tmp_path / "client-python.yaml"
        assert f"{path}: refresh_interval_minute is 'soon', allowed is a number of minutes, above 0" in message
        assert f"{path}: environment is 5, allowed is text" in message
        assert f"{path}: logger is 'x', allowed is a logging.Logger" in message
        assert f"{path}: 'colour' is no setting; allowed are client_id" in message
        assert not isinstance(caught.value, ConfigCredentialsInvalid)

    @pytest.mark.parametrize(
        ("text", "key"),
        [
            ("environment: x\nclient_secret: s\n", "client_id is missing"),
            ("client_id: 5\nclient_secret: s\n", "client_id is of type int, allowed is text; put a number in quotes"),
        ],
    )
    def test_credentials(self, tmp_path, text, key):
        """Missing and numeric credentials show as recorded, and are refused when a client is made."""
        config = KameleoonClientConfig.read_from_yaml(file_with(tmp_path, text))
        assert config.client_id in ("1", 5)
        with pytest.raises(ConfigCredentialsInvalid, match=re.escape(key)):
            config.freeze()

    @pytest.mark.parametrize("value", ["", "''", "~"])
    def test_empty_credential(self, tmp_path, value):
        """A credential that is there and empty is refused when the file is read."""
        path = file_with(tmp_path, f"client_id: a\nclient_secret: {value}\n")
        with pytest.raises(ConfigCredentialsInvalid, match=r"Client secret is not specified.*client_secret"):
            KameleoonClientConfig.read_from_yaml(path)

    def test_boolean_is_a_number_as_recorded(self, tmp_path):
        """A boolean shows as the number it equals, and is refused when a client is made."""
        config = read(tmp_path, "refresh_interval_minute: true\nsession_duration_minute: true\n")
        assert (config.refresh_interval_second, config.session_duration_second) == (60, 60)
        with pytest.raises(ConfigException, match="refresh_interval_minute is True"):
            config.freeze()

    def test_setter_mends(self, tmp_path):
        """A wrong value in the file no longer counts once it is set in code."""
        config = read(tmp_path, "environment: 5\n")
        config.set_environment("staging")
        assert config.freeze().environment == "staging"

    def test_source_in_file(self, tmp_path):
        """With a source in the file, credentials may be missing or empty."""
        path = file_with(tmp_path, "source: /etc/data-file.json\nclient_id:\n")
        settings = KameleoonClientConfig.read_from_yaml(path).freeze()
        assert (settings.client_id, settings.client_secret, settings.source) == ("", "", "/etc/data-file.json")


class TestSample:
    """The sample file."""

    def test_sample_is_right(self):
        """The sample file can be used as it is and holds the defaults."""
        settings = KameleoonClientConfig.read_from_yaml(SAMPLE).freeze()
        expected = KameleoonClientConfig("my-client-id", "my-client-secret", top_level_domain="example.com").freeze()
        assert settings == expected

    def test_sample_shows_every_setting(self, tmp_path):
        """Every setting stands in the sample, and those commented out are right too."""
        text = re.sub(r"^# (\w+: \S+)$", r"\1", SAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert {*yaml.safe_load(text), "logger", "visitor_store"} == set(SETTINGS)
        assert all(f"`{name}`" in text for name in ("logger", "visitor_store"))
        KameleoonClientConfig.read_from_yaml(file_with(tmp_path, text)).freeze()


def test_old_import_path():
    """The vendor's module gives the same class."""
    from kameleoon.kameleoon_client_config import KameleoonClientConfig as Kept

    assert Kept is KameleoonClientConfig


def test_environment_is_clean():
    """The settings of whoever runs the tests do not leak into them."""
    assert not [name for name in os.environ if name.startswith("KAMELEOON_")]
