"""Make the modules in ``examples/`` importable, as they are when one of them runs as a script."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
