"""Where visitors are kept between requests: the protocol, and the store in memory."""

from kameleoon.stores.memory import MemoryStore
from kameleoon.stores.protocol import Claim, Ended, VisitorStore

__all__ = ["Claim", "Ended", "MemoryStore", "VisitorStore"]
