"""An application whose client is made, ready and used before gunicorn forks its workers; see test_preload.py."""

import os

from kameleoon import KameleoonClient, KameleoonClientConfig, KameleoonWSGIMiddleware

client = KameleoonClient("demoshop01", KameleoonClientConfig("id", "secret", base_url=os.environ["BACKEND"]))
if os.environ.get("WAIT") == "1":
    client.wait_init()
client.track_conversion("master", 1001, 1.0)


def view(environ, start_response):
    """Count an order, and tell the worker and the flag."""
    visitor = environ["kameleoon.visitor"]
    client.wait_init()
    visitor.track_conversion(1001, float(os.getpid()))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {visitor.is_active('recommendations')}".encode()]


application = KameleoonWSGIMiddleware(view, client)
