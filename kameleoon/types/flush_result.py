"""What a flush achieved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class FlushResult:
    """
    What ``flush(timeout=...)`` achieved, in tracking lines.

    Attributes:
        sent: Lines that the service accepted.
        pending: Lines still to be sent when the time was over.
        dropped: Lines that the service refused for good, or that there was no room for.
        destinations: ``{name: the same three numbers of its events}``, each destination for itself.
    """

    sent: int
    pending: int
    dropped: int
    destinations: Mapping[str, FlushResult] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to be sent, neither to the service nor to any destination."""
        return not self.pending and all(result.is_complete for result in self.destinations.values())
