"""Where visitors are kept between requests: the protocol, the store in memory, and the one in Redis."""

from kameleoon.stores.memory import MemoryStore
from kameleoon.stores.protocol import Claim, Ended, SharedVisitorStore, VisitorStore
from kameleoon.stores.redis import RedisStore

__all__ = ["Claim", "Ended", "MemoryStore", "RedisStore", "SharedVisitorStore", "VisitorStore"]
