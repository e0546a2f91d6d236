"""What the benches share: the contestants, the programs that they run, and the tables of what came out."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".tools"
"""Where peers, compiled programs and results are kept; not part of the repository."""

sys.path.append(str(ROOT / "tests"))  # functional.daemon and live.livekit run the real things there and here
