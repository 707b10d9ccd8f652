"""What all handlers of events have in common: nothing but their purpose."""

from typing import Protocol


class EventHandler(Protocol):
    """
    An object told of events. Its methods run on the SDK's thread; what they raise is logged and goes no further.

    Any object with the methods of its event will do; it need not inherit from anything here.
    """
