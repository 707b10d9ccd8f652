"""The base of what an application can tell about a visitor, and the kinds there are."""

from enum import IntEnum
from typing import ClassVar


class DataType(IntEnum):
    """
    Kinds of facts about a visitor. Some are never made by applications: the SDK or the service's visitor data makes them.

    Source:
        docs/service/evaluation.md 6.2.
    """

    CUSTOM_DATA = 0
    BROWSER = 1
    CONVERSION = 2
    DEVICE = 3
    PAGE_VIEW = 4
    USER_AGENT = 5
    ASSIGNED_VARIATION = 6
    COOKIE = 7
    OPERATING_SYSTEM = 8
    GEOLOCATION = 9
    PAGE_VIEW_VISIT = 10
    VISITOR_VISITS = 11
    KCS_HEAT = 12
    UNIQUE_IDENTIFIER = 13
    FORCED_EXPERIMENT_VARIATION = 14
    FORCED_FEATURE_VARIATION = 15
    CBS = 16
    PERSONALIZATION = 17
    TARGETED_SEGMENT = 18
    APPLICATION_VERSION = 19


class Data:
    """Base of the values that ``add_data`` takes. They are immutable: one object may be added for many visitors."""

    __slots__ = ()

    data_type: ClassVar[DataType]
