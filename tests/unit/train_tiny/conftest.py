"""The training script's modules lie beside each other in scripts/train_tiny, outside the package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts" / "train_tiny"))
