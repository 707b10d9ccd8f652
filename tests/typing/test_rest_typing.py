"""The types of the REST clients, as an application's own type checker sees them."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_uses_of_the_rest_clients_can_be_checked_strictly():
    """Every use in ``rest.py`` has the type it asserts, and every wrong use in it is found."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "pyproject.toml", str(HERE / "rest.py")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=HERE.parents[1],
    )
    assert done.returncode == 0, done.stdout + done.stderr
