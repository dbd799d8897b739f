"""Make the modules in ``examples/`` importable, as they are for each other when one is run as a script."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
