"""A kept import path; the class lives in `kameleoon.factory`."""

from kameleoon.factory import KameleoonClientFactory

__all__ = ["KameleoonClientFactory"]
