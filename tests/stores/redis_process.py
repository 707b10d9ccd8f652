"""A real Redis, started by the tests on a free port, that can be stopped and started again."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time

BINARY = shutil.which("redis-server")


class RedisProcess:
    """
    A Redis that keeps nothing on disk.

    Attributes:
        url: For `RedisStore`.
    """

    def __init__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process = None

    def start(self):
        """Start it, empty; it answers when this returns."""
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen([BINARY, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while True:
            try:
                if self.command("PING") == b"+PONG":
                    return self
            except OSError:
                assert time.monotonic() < end, "Redis did not start"
                time.sleep(0.01)

    def stop(self):
        """End it at once, and with it all that it holds."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def flush(self):
        """Forget everything, scripts too."""
        self.command("FLUSHALL")
        self.command("SCRIPT FLUSH")

    def command(self, text):
        """First line of the answer to a command."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as link, link.makefile("rwb") as stream:
            stream.write(text.encode() + b"\r\n")
            stream.flush()
            return stream.readline().rstrip()

    def commands_processed(self):
        """How many commands it has run so far."""
        return self._info("stats", "total_commands_processed")

    def clients(self):
        """How many connections it has, this one included."""
        return self._info("clients", "connected_clients")

    def _info(self, section, name):
        with socket.create_connection(("127.0.0.1", self.port), 5) as link, link.makefile("rwb") as stream:
            stream.write(f"INFO {section}\r\n".encode())
            stream.flush()
            for line in stream:
                if line.startswith(f"{name}:".encode()):
                    return int(line.split(b":")[1])
        raise AssertionError("Redis told nothing")
