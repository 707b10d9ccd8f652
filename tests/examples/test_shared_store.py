"""The example of two workers that share their visitors."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="there is no redis-server on this machine")
def test_data_added_in_one_worker_decides_a_flag_in_the_other():
    """Under a real gunicorn, with a real Redis, every visitor is decided by what another worker learnt."""
    command = [sys.executable, "examples/shared_store/run.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 of 5 visitors" in done.stdout
