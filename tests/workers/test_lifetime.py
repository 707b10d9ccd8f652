"""The process's own events reach everybody who waits for them."""

import subprocess
import sys

SCRIPT = """
import logging

from kameleoon._workers.lifetime import unwatch, watch

class Subject:
    def __init__(self, name):
        self.name = name

    def after_fork_in_child(self):
        pass

    def at_exit(self):
        if self.name == "broken":
            raise RuntimeError("cannot end")
        print(self.name)

logging.basicConfig()
subjects = [Subject(name) for name in ["good", "broken"] * 5]
for subject in subjects:
    watch(subject)
gone = Subject("gone")
watch(gone)
unwatch(gone)
watch(Subject("forgotten"))
"""


def test_one_that_cannot_end_keeps_no_other_from_it():
    """At exit everybody still watched is told, once, whatever some of them raise; what they raise is logged."""
    ended = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout.split() == ["good"] * 5
    assert ended.stderr.count("RuntimeError('cannot end')") == 5
    assert "Traceback" not in ended.stderr
