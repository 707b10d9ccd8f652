"""Why a visitor got a variation."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a visitor got a variation, in OpenFeature's words."""

    SPLIT = "SPLIT"
    """A share of the visitors of an experiment."""
    TARGETING_MATCH = "TARGETING_MATCH"
    """A rule for exactly these visitors, or a variation forced for one."""
    DEFAULT = "DEFAULT"
    """No rule caught the visitor."""
    DISABLED = "DISABLED"
    """The flag is off in the environment, or the visitor's refusal blocks it."""
    STALE = "STALE"
    """Decided on a configuration known to be old."""
    ERROR = "ERROR"
    """The flag could not be evaluated."""
