"""
Talking to the service: requests and responses as values, conversations as flows, two drivers, and the HTTP adapters.

Only the adapters (``requests_*``, ``aiohttp_*``) open sockets, and only they import an HTTP library.
"""
