"""The types of the public API, as an application's own type checker sees them."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_applications_can_be_checked_strictly():
    """Every use in ``api.py`` has the type it asserts, and every wrong use in it is found."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "pyproject.toml", str(HERE / "api.py")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=HERE.parents[1],
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_says_that_it_is_typed():
    """Type checkers read the annotations of an installed package only with this marker."""
    import kameleoon

    assert (Path(kameleoon.__file__).parent / "py.typed").is_file()
