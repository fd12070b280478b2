"""Makes sibling helpers (tinymodels) importable: pytest's importlib mode does not put tests/ on sys.path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
