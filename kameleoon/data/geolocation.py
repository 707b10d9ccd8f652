"""Where the visitor is."""

from dataclasses import dataclass
from typing import ClassVar

from kameleoon.data import _checks
from kameleoon.data.data import Data, DataType


@dataclass(frozen=True, slots=True)
class Geolocation(Data):
    """
    Where the visitor is; a later one replaces it. Empty and missing names are not sent.

    Args:
        country: Country name; ``None`` when unknown.
        region: Region name.
        city: City name.
        postal_code: Postal code, as text.
        latitude: Degrees, north positive.
        longitude: Degrees, east positive.

    Raises:
        TypeError: A name is not a string, or a coordinate not a number.
        ValueError: A name holds a lone surrogate, or a coordinate is NaN or infinite.
    """

    data_type: ClassVar[DataType] = DataType.GEOLOCATION

    country: str | None
    region: str | None = None
    city: str | None = None
    postal_code: str | None = None
    latitude: float | None = None
    longitude: float | None = None

    def __post_init__(self) -> None:
        _checks.optional_text("Geolocation.country", self.country)
        _checks.optional_text("Geolocation.region", self.region)
        _checks.optional_text("Geolocation.city", self.city)
        _checks.optional_text("Geolocation.postal_code", self.postal_code)
        object.__setattr__(self, "latitude", _checks.optional_number("Geolocation.latitude", self.latitude))
        object.__setattr__(self, "longitude", _checks.optional_number("Geolocation.longitude", self.longitude))
