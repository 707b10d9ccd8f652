"""What a finished flush was given outlives the process, however it ends."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from kill_harness import run


def test_killed_processes_lose_nothing_and_send_nothing_anew():
    """Processes killed under load, two at a time in one directory: each event of a finished flush arrives, with one nonce."""
    outcome = run(kills=10, seed=5)
    assert outcome.finished > 20
    assert (outcome.missing, outcome.renamed, outcome.pending) == (0, 0, 0)
    assert (outcome.untold, outcome.retold) == (0, 0)
