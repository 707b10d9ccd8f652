"""A kept import path; the class lives in `kameleoon.integrations.wsgi`."""

from kameleoon.integrations.wsgi import KameleoonWSGIMiddleware

__all__ = ["KameleoonWSGIMiddleware"]
