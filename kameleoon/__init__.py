"""Feature flags and experiments for Python back ends."""

from kameleoon._version import __version__

__all__ = ["__version__"]
