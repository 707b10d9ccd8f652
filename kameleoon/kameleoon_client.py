"""A kept import path; the class lives in `kameleoon.client`."""

from kameleoon.client import KameleoonClient

__all__ = ["KameleoonClient"]
