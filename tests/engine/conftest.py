"""What the tests of the engine have in common: the slow evaluator lies one directory up."""

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parents[1]))

settings.register_profile("engine", deadline=None, database=None, suppress_health_check=list(HealthCheck))
settings.load_profile("engine")
