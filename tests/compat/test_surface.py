"""Every import path, name and signature that applications written for 3.22.2 or 3.4.0 rely on."""

import importlib
import inspect
import warnings

import pytest

from kameleoon import KameleoonClient, KameleoonClientConfig, KameleoonClientFactory

PATHS = {
    "kameleoon": "KameleoonClient KameleoonClientConfig KameleoonClientFactory KameleoonWSGIMiddleware __version__",
    "kameleoon.data": (
        "ApplicationVersion Browser BrowserType Conversion Cookie CustomData Data DataType Device DeviceType Geolocation "
        "OperatingSystem OperatingSystemType PageView UserAgent UniqueIdentifier"
    ),
    "kameleoon.data.application_version": "ApplicationVersion",
    "kameleoon.data.browser": "Browser BrowserType",
    "kameleoon.data.conversion": "Conversion",
    "kameleoon.data.cookie": "Cookie",
    "kameleoon.data.custom_data": "CustomData",
    "kameleoon.data.data": "Data DataType",
    "kameleoon.data.device": "Device DeviceType",
    "kameleoon.data.geolocation": "Geolocation",
    "kameleoon.data.operating_system": "OperatingSystem OperatingSystemType",
    "kameleoon.data.page_view": "PageView",
    "kameleoon.data.unique_identifier": "UniqueIdentifier",
    "kameleoon.data.user_agent": "UserAgent",
    "kameleoon.events": (
        "DataFileUpdateEvent DataFileUpdateHandler EventHandler EventType HttpRequestFailure HttpRequestHandler RequestType"
    ),
    "kameleoon.exceptions": (
        "KameleoonError ConfigException ConfigFileNotFound ConfigCredentialsInvalid SiteCodeIsEmpty Initialization "
        "NotFoundError FeatureError FeatureVariationNotFound FeatureNotFound FeatureExperimentNotFound "
        "FeatureVariableNotFound FeatureEnvironmentDisabled VisitorCodeInvalid"
    ),
    "kameleoon.kameleoon_client": "KameleoonClient",
    "kameleoon.kameleoon_client_config": "KameleoonClientConfig",
    "kameleoon.kameleoon_client_factory": "KameleoonClientFactory",
    "kameleoon.logging.kameleoon_logger": "KameleoonLogger",
    "kameleoon.logging.log_level": "LogLevel",
    "kameleoon.logging.logger": "Logger DefaultLogger",
    "kameleoon.middleware": "KameleoonWSGIMiddleware",
    "kameleoon.sdk_version": "SdkVersion",
    "kameleoon.types.data_file": "DataFile",
    "kameleoon.types.feature_flag": "FeatureFlag",
    "kameleoon.types.remote_visitor_data_filter": "RemoteVisitorDataFilter",
    "kameleoon.types.rule": "Rule",
    "kameleoon.types.variable": "Variable",
    "kameleoon.types.variation": "Variation",
}

METHODS = {
    "wait_init": "timeout_milliseconds=None",
    "wait_init_async": "timeout_milliseconds=None",
    "is_ready": "",
    "get_visitor_code": "cookies_readonly=None, cookies=None, default_visitor_code=None",
    "set_legal_consent": "visitor_code, consent, cookies=None",
    "add_data": "visitor_code, *args, track=True",
    "track_conversion": "visitor_code, goal_id, revenue=0.0, is_unique_identifier=None, negative=False, metadata=None",
    "flush": "visitor_code=None, is_unique_identifier=None, instant=False",
    "is_feature_active": "visitor_code, feature_key, is_unique_identifier=None, track=True",
    "get_variation": "visitor_code, feature_key, track=True",
    "get_variations": "visitor_code, only_active=False, track=True",
    "get_data_file": "",
    "get_feature_variation_key": "visitor_code, feature_key, is_unique_identifier=None",
    "get_feature_variable": "visitor_code, feature_key, variable_key, is_unique_identifier=None",
    "get_feature_variation_variables": "feature_key, variation_key",
    "get_active_features": "visitor_code",
    "get_feature_list": "",
    "get_active_feature_list_for_visitor": "visitor_code",
    "get_remote_data": "key, timeout=None",
    "get_remote_data_async": "key, timeout=None",
    "get_remote_visitor_data": "visitor_code, add_data=True, timeout=None, data_filter=None, is_unique_identifier=None",
    "get_remote_visitor_data_async": (
        "visitor_code, add_data=True, timeout=None, data_filter=None, is_unique_identifier=None"
    ),
    "get_visitor_warehouse_audience": "visitor_code, custom_data_index, warehouse_key=None, timeout=None",
    "get_visitor_warehouse_audience_async": "visitor_code, custom_data_index, warehouse_key=None, timeout=None",
    "get_engine_tracking_code": "visitor_code",
    "set_forced_variation": "visitor_code, experiment_id, variation_key, force_targeting=True",
    "evaluate_audiences": "visitor_code",
    "set_event_handler": "event_type, handler",
    "on_update_configuration": "handler",
}

OLD_METHODS = {
    "wait_init": "",
    "wait_init_async": "",
    "add_data": "visitor_code, *args",
    "track_conversion": "visitor_code, goal_id, revenue=0.0, is_unique_identifier=None",
    "is_feature_active": "visitor_code, feature_key, is_unique_identifier=None",
}
"""Methods of 3.4.0 whose signature grew since."""

CONSTRUCTORS = {
    "Browser": "browser_type, version=None",
    "Conversion": "goal_id, revenue=0.0, negative=False, metadata=None",
    "Cookie": "cookies",
    "CustomData": "index_or_name, *values, overwrite=True",
    "Device": "device_type",
    "Geolocation": "country, region=None, city=None, postal_code=None, latitude=None, longitude=None",
    "OperatingSystem": "os_type",
    "PageView": "url, title, referrers=None",
    "UserAgent": "value",
    "UniqueIdentifier": "value",
    "ApplicationVersion": "version",
}

ENUMS = {
    "BrowserType": "CHROME=0 INTERNET_EXPLORER=1 FIREFOX=2 SAFARI=3 OPERA=4 OTHER=5",
    "OperatingSystemType": "WINDOWS=0 MAC=1 IOS=2 LINUX=3 ANDROID=4 WINDOWS_PHONE=5",
    "DeviceType": "PHONE='PHONE' TABLET='TABLET' DESKTOP='DESKTOP'",
    "DataType": (
        "CUSTOM_DATA=0 BROWSER=1 CONVERSION=2 DEVICE=3 PAGE_VIEW=4 USER_AGENT=5 ASSIGNED_VARIATION=6 COOKIE=7 "
        "OPERATING_SYSTEM=8 GEOLOCATION=9 PAGE_VIEW_VISIT=10 VISITOR_VISITS=11 KCS_HEAT=12 UNIQUE_IDENTIFIER=13 "
        "FORCED_EXPERIMENT_VARIATION=14 FORCED_FEATURE_VARIATION=15 CBS=16 PERSONALIZATION=17 TARGETED_SEGMENT=18 "
        "APPLICATION_VERSION=19"
    ),
}

CONFIG = (
    "client_id refresh_interval_minute session_duration_minute default_timeout_millisecond environment "
    "top_level_domain logger multi_threading tracking_interval_millisecond network_domain"
)


def shape(function):
    """Parameters as text, without annotations, ``self`` and keyword-only additions of ours."""
    shown = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name == "self":
            continue
        text = f"*{name}" if parameter.kind is parameter.VAR_POSITIONAL else name
        if parameter.default is not parameter.empty:
            text += f"={parameter.default!r}"
        shown.append(text)
    return ", ".join(shown)


@pytest.mark.parametrize("module", PATHS)
def test_each_import_path_has_its_names(module):
    """Every dotted path can be imported and holds what it held."""
    imported = importlib.import_module(module)
    for name in PATHS[module].split():
        assert getattr(imported, name, None) is not None, f"{module}.{name}"


def test_data_can_be_imported_from_the_top():
    """What the public documentation shows, ``from kameleoon import Device``, works, and gives the same classes."""
    top, data = importlib.import_module("kameleoon"), importlib.import_module("kameleoon.data")
    for name in PATHS["kameleoon.data"].split():
        assert getattr(top, name) is getattr(data, name)


@pytest.mark.parametrize("name", METHODS)
def test_each_method_takes_what_it_took(name):
    """Names, order and defaults of the parameters are those of 3.22.2; ours come after, by keyword and with a default."""
    parameters = inspect.signature(getattr(KameleoonClient, name)).parameters
    ours = [p for p in parameters.values() if p.kind is p.KEYWORD_ONLY and p.name not in METHODS[name]]
    assert all(parameter.default is None for parameter in ours)
    shown = shape(getattr(KameleoonClient, name))
    extra = "".join(f", {parameter.name}=None" for parameter in ours)
    assert shown == METHODS[name] + extra


@pytest.mark.parametrize("name", OLD_METHODS)
def test_calls_written_for_the_older_version_fit(name):
    """Positional calls of 3.4.0 mean the same: its parameters come first, and those that were added have defaults."""
    old = OLD_METHODS[name].split(", ") if OLD_METHODS[name] else []
    now = METHODS[name].split(", ") if METHODS[name] else []
    assert now[: len(old)] == old
    assert all("=" in parameter for parameter in now[len(old) :])


@pytest.mark.parametrize("name", [name for name in METHODS if name.endswith("_async")])
def test_asynchronous_methods_are_coroutine_functions(name):
    """Each can be awaited, and frameworks can tell."""
    assert inspect.iscoroutinefunction(getattr(KameleoonClient, name))


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_each_data_class_is_made_as_before(name):
    """Names, order and defaults of the constructors."""
    assert shape(getattr(importlib.import_module("kameleoon.data"), name)) == CONSTRUCTORS[name]


@pytest.mark.parametrize("name", ENUMS)
def test_each_enumeration_has_its_values(name):
    """Members, values and order, which go over the wire."""
    members = getattr(importlib.import_module("kameleoon.data"), name)
    assert " ".join(f"{member.name}={member.value!r}" for member in members) == ENUMS[name]


def test_the_filter_keeps_its_order():
    """Applications pass the filter's fields by position."""
    from kameleoon.types.remote_visitor_data_filter import RemoteVisitorDataFilter

    assert shape(RemoteVisitorDataFilter) == (
        "previous_visit_amount=1, current_visit=True, custom_data=True, page_views=False, geolocation=False, device=False, "
        "browser=False, operating_system=False, conversions=False, experiments=False, kcs=False, visitor_code=True, "
        "cbs=False, personalization=False"
    )


def test_the_settings_keep_their_order():
    """The eleven settings of 3.22.2 come first, by position; each but the credentials has its setter."""
    parameters = list(inspect.signature(KameleoonClientConfig.__init__).parameters.values())[1:]
    positional = [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    assert positional == ["client_id", "client_secret", *CONFIG.split()[1:]]
    for name in CONFIG.split()[1:]:
        assert callable(getattr(KameleoonClientConfig, f"set_{name}")), name


def test_the_settings_are_read_in_seconds():
    """The properties of 3.22.2 show the settings, the times in seconds."""
    config = KameleoonClientConfig(
        "id", "secret", 2, 3, 4000, "staging", "example.com", None, None, 1500, "k.example.com"
    )
    assert (config.client_id, config.client_secret) == ("id", "secret")
    assert (config.refresh_interval_second, config.session_duration_second) == (120, 180)
    assert (config.default_timeout_second, config.tracking_interval_second) == (4, 1.5)
    assert (config.environment, config.top_level_domain, config.network_domain) == (
        "staging",
        "example.com",
        "k.example.com",
    )
    assert not config.multi_threading


def test_the_factory_keeps_its_two_methods():
    """`create` and `forget` are called on the class."""
    assert shape(KameleoonClientFactory.create) == (
        "site_code, config=None, config_path='/etc/kameleoon/client-python.yaml'"
    )
    assert shape(KameleoonClientFactory.forget) == "site_code"
    for name in ("create", "forget"):
        assert isinstance(inspect.getattr_static(KameleoonClientFactory, name), staticmethod)


def test_the_middleware_keeps_its_arguments():
    """``KameleoonWSGIMiddleware(app, client, default_visitor_code=None)``."""
    from kameleoon.middleware import KameleoonWSGIMiddleware

    assert shape(KameleoonWSGIMiddleware).startswith("app, client, default_visitor_code=None")


def test_what_is_told_to_the_service_is_the_compatible_level():
    """Name and version as the service, and conditions on the SDK, see them."""
    from kameleoon.sdk_version import SdkVersion

    assert (SdkVersion.NAME, SdkVersion.VERSION, SdkVersion.version_info) == ("PYTHON", "3.22.2", (3, 22, 2))


def test_values_show_their_members():
    """The values that applications read have the members they had."""
    from kameleoon.types.variation import Variation

    with KameleoonClient("offline", KameleoonClientConfig(source=ALL)) as client:
        assert client.wait_init()
        variation = client.get_variation("visitor", "flag")
        assert isinstance(variation, Variation)
        assert (variation.key, variation.name, variation.id_, variation.experiment_id) == ("on", "On", None, None)
        assert variation.is_active is True
        assert variation.variables["text"].value == "hello"
        assert (variation.variables["text"].key, variation.variables["text"].type) == ("text", "STRING")
        data_file = client.get_data_file()
        assert data_file.date_modified == 7
        flag = data_file.feature_flags["flag"]
        assert (flag.default_variation_key, flag.environment_enabled, list(flag.rules)) == ("on", True, [])
        assert flag.default_variation == flag.variations["on"] == variation


FLAG = {
    "featureKey": "flag",
    "environmentEnabled": True,
    "defaultVariationKey": "on",
    "rules": [],
    "variables": [{"key": "text", "type": "STRING", "defaultValue": "hello"}],
    "variations": [
        {"key": "on", "name": "On", "variables": [{"key": "text", "type": "STRING", "value": "hello"}]},
        {"key": "off", "name": "Off", "variables": []},
    ],
}
ALL = {"dateModified": 7, "featureFlags": [FLAG]}

DEPRECATED = {
    "get_feature_variation_key": ("visitor", "flag"),
    "get_feature_variable": ("visitor", "flag", "text"),
    "get_feature_variation_variables": ("flag", "on"),
    "get_active_features": ("visitor",),
    "get_feature_list": (),
    "get_active_feature_list_for_visitor": ("visitor",),
    "on_update_configuration": (print,),
}

WITH_UNIQUE_IDENTIFIER = {
    "track_conversion": ("visitor", 1),
    "flush": ("visitor",),
    "is_feature_active": ("visitor", "flag"),
    "get_feature_variation_key": ("visitor", "flag"),
    "get_feature_variable": ("visitor", "flag", "text"),
    "get_remote_visitor_data": ("visitor",),
}


@pytest.fixture
def client():
    """A client without a service."""
    with KameleoonClient("offline", KameleoonClientConfig(source=ALL, default_timeout_millisecond=1)) as made:
        assert made.wait_init()
        yield made


@pytest.mark.parametrize("name", DEPRECATED)
def test_a_deprecated_method_warns_once_for_each_place(client, name):
    """The warning names the method and points at the line that called it, so that Python shows it once a place."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        warnings.simplefilter("default")
        for _ in range(3):
            getattr(client, name)(*DEPRECATED[name])
    assert [(warning.category, warning.filename) for warning in caught] == [(DeprecationWarning, __file__)]
    assert name in str(caught[0].message)


@pytest.mark.parametrize("name", WITH_UNIQUE_IDENTIFIER)
def test_the_deprecated_argument_warns_once_for_each_place(client, name):
    """``is_unique_identifier`` works and warns at the caller's line; without it nothing does."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        warnings.simplefilter("default")
        for _ in range(3):
            getattr(client, name)(*WITH_UNIQUE_IDENTIFIER[name], is_unique_identifier=True)
    about = [warning for warning in caught if "is_unique_identifier" in str(warning.message)]
    assert [(warning.category, warning.filename) for warning in about] == [(DeprecationWarning, __file__)]
    assert client._core.store.peek("visitor").is_unique is True
