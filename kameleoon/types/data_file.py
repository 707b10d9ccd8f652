"""The configuration a client works with, as applications may see it."""

from collections.abc import Mapping
from dataclasses import dataclass

from kameleoon.types._read_only import read_only
from kameleoon.types.feature_flag import FeatureFlag


@dataclass(frozen=True, slots=True)
class DataFile:
    """
    The configuration a client works with.

    Attributes:
        feature_flags: ``{flag key: flag}``, a read-only ``dict``, in the service's order.
        date_modified: When the configuration last changed, in milliseconds since 1970; 0 before the first one.
    """

    feature_flags: Mapping[str, FeatureFlag]
    date_modified: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "feature_flags", read_only(self.feature_flags))
