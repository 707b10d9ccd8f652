"""
All errors that reach an application.

::

    KameleoonError
    ├── ConfigException
    │   ├── ConfigFileNotFound
    │   └── ConfigCredentialsInvalid
    ├── SiteCodeIsEmpty
    ├── Initialization
    ├── NotFoundError
    │   ├── FeatureNotFound
    │   ├── FeatureVariationNotFound
    │   ├── FeatureExperimentNotFound
    │   └── FeatureVariableNotFound
    ├── FeatureError
    │   └── FeatureEnvironmentDisabled
    └── VisitorCodeInvalid

Each keeps its constructor's arguments in ``args``, so that copies and pickles give the same text.

Source:
    docs/service/network.md 1.3.
"""

__all__ = [
    "ConfigCredentialsInvalid",
    "ConfigException",
    "ConfigFileNotFound",
    "FeatureEnvironmentDisabled",
    "FeatureError",
    "FeatureExperimentNotFound",
    "FeatureNotFound",
    "FeatureVariableNotFound",
    "FeatureVariationNotFound",
    "Initialization",
    "KameleoonError",
    "NotFoundError",
    "SiteCodeIsEmpty",
    "VisitorCodeInvalid",
]


class KameleoonError(Exception):
    """Base of all errors of this library. ``str(error)`` and ``error.message`` are the same text."""

    def __init__(self, message: object) -> None:
        super().__init__(message)

    def _text(self) -> str:
        return str(self.args[0])

    @property
    def message(self) -> str:
        """The whole text; it always starts with ``Kameleoon error: ``."""
        return f"Kameleoon error: {self._text()}"

    def __str__(self) -> str:
        return self.message


class ConfigException(KameleoonError):
    """Settings that cannot be used; the text names setting, value and what is allowed."""


class ConfigFileNotFound(ConfigException):
    """No configuration file at the path, which the text names."""


class ConfigCredentialsInvalid(ConfigException):
    """The client id or the client secret is missing or cannot be used."""


class SiteCodeIsEmpty(KameleoonError):
    """The factory was given an empty site code."""


class Initialization(KameleoonError):
    """
    The client has no configuration yet. Logged by ``wait_init``, never raised to callers.

    Attributes:
        site_code: The client's site code.
        environment: The client's environment, ``None`` for the default one.
        cause: Why, when known.
    """

    def __init__(self, site_code: str, environment: str | None, cause: BaseException | None) -> None:
        super().__init__(site_code)
        self.args = (site_code, environment, cause)
        self.site_code = site_code
        self.environment = environment
        self.cause = cause

    def _text(self) -> str:
        reason = (str(self.cause) if self.cause is not None else "") or "unknown"
        return (
            f"SDK is not initialized for siteCode: '{self.site_code}', environment: '{self.environment}'. "
            f"Reason: {reason}"
        )


class NotFoundError(KameleoonError):
    """
    Something asked for by name or id does not exist.

    Attributes:
        key: What was asked for, as given.
    """

    def __init__(self, key: object) -> None:
        super().__init__(key)
        self.key = key

    def _text(self) -> str:
        return f"{self.key} not found."


class FeatureNotFound(NotFoundError):
    """No flag of this key; so too for every key before the first configuration has arrived."""

    def _text(self) -> str:
        return f"Feature flag Id: {self.key} not found."


class FeatureVariationNotFound(NotFoundError):
    """The flag or experiment has no variation of this key."""

    def _text(self) -> str:
        return f"Variation {self.key} not found."


class FeatureExperimentNotFound(NotFoundError):
    """No flag's rule carries an experiment of this id."""

    def _text(self) -> str:
        return f"Experiment {self.key} not found."


class FeatureVariableNotFound(NotFoundError):
    """The variation has no variable of this key."""

    def _text(self) -> str:
        return f"Feature variable {self.key} not found."


class FeatureError(KameleoonError):
    """A flag exists and cannot be evaluated."""

    def _text(self) -> str:
        return f"Feature error: {self.args[0]}"


class FeatureEnvironmentDisabled(FeatureError):
    """The flag is switched off in the client's environment, or the visitor's refused consent blocks it."""

    @classmethod
    def for_feature(cls, feature_key: str, environment: str | None) -> "FeatureEnvironmentDisabled":
        """Error for a flag that is off in *environment*, ``None`` standing for the default one."""
        place = "default environment" if environment is None else f"'{environment}' environment"
        return cls(f"Feature '{feature_key}' is disabled for {place}")


class VisitorCodeInvalid(KameleoonError):
    """
    The visitor code is empty or longer than 255 characters.

    Attributes:
        reason: ``empty visitor code`` or ``is longer than 255 chars``.
    """

    def __init__(self, reason: object) -> None:
        super().__init__(reason)
        self.reason = reason

    def _text(self) -> str:
        return f"Visitor code not valid: {self.reason}"
