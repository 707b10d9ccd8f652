"""Kept import path of `kameleoon.config.KameleoonClientConfig`."""

from kameleoon.config import KameleoonClientConfig

__all__ = ["KameleoonClientConfig"]
