"""A Redis whose answers can be lost on the way: what was asked is done, and nobody hears of it."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Lossy:
    """
    Stands between a store and a Redis while the ``with`` block lasts.

    Args:
        port: Where the Redis is.

    Attributes:
        url: For `RedisStore`.
        is_lost: Asked for each answer, given what was asked: whether it is lost, and the connection with it.
        trips: How many requests went through.
    """

    def __init__(self, port, is_lost=lambda _asked: False):
        self.port = port
        self.is_lost = is_lost
        self.trips = 0

    def __enter__(self):
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._server.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                link, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link):
        with suppress(OSError), link, socket.create_connection(("127.0.0.1", self.port)) as redis:
            done = threading.Event()

            def answers():
                with suppress(OSError):
                    while data := redis.recv(1 << 20):
                        if self.is_lost(asked):
                            break
                        link.sendall(data)
                done.set()
                with suppress(OSError):
                    link.shutdown(socket.SHUT_RDWR)

            asked = b""
            threading.Thread(target=answers, daemon=True).start()
            while not done.is_set() and (data := link.recv(1 << 20)):
                asked = data
                self.trips += 1
                redis.sendall(data)
