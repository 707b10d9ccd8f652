"""A goal the visitor reached."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from kameleoon.data import _checks
from kameleoon.data.custom_data import CustomData
from kameleoon.data.data import Data, DataType


@dataclass(frozen=True, slots=True, init=False)
class Conversion(Data):
    """
    A goal the visitor reached; each one added is sent.

    Attributes:
        goal_id: The goal's id in the service.
        revenue: Money earned, in the site's currency, 0.0 by default.
        negative: Whether the conversion takes back an earlier one.
        metadata: Custom data sent with it, as a tuple, or ``None``. The first of each index counts.
    """

    data_type: ClassVar[DataType] = DataType.CONVERSION

    goal_id: int
    revenue: float
    negative: bool
    metadata: tuple[CustomData, ...] | None

    def __init__(
        self,
        goal_id: int,
        revenue: float = 0.0,
        negative: bool = False,
        metadata: Iterable[CustomData] | None = None,
    ) -> None:
        """
        Check and keep the values; *metadata* is read once. A ``Decimal`` revenue becomes a ``float``.

        Raises:
            TypeError: *goal_id* is not an integer (a ``bool`` is none), *revenue* not a number, *negative* not a
                ``bool``, or *metadata* does not hold `CustomData`.
            ValueError: *revenue* is NaN or infinite.
        """
        object.__setattr__(self, "goal_id", _checks.integer("Conversion.goal_id", goal_id))
        object.__setattr__(self, "revenue", _checks.number("Conversion.revenue", revenue))
        object.__setattr__(self, "negative", _checks.flag("Conversion.negative", negative))
        kept: tuple[CustomData, ...] | None = None
        if metadata is not None:
            given = _checks.items("Conversion.metadata", metadata, "a list of CustomData")
            kept = tuple(_custom_data(item) for item in given)
        object.__setattr__(self, "metadata", kept)


def _custom_data(item: object) -> CustomData:
    if not isinstance(item, CustomData):
        _checks.refuse("each of Conversion.metadata", item, "a CustomData")
    return item
