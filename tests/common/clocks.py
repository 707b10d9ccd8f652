"""A clock for what asks for the time."""


class Clock:
    """Seconds that pass only when told."""

    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        """Tell the time."""
        return self.now
