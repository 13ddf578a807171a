"""Jets in: ROOT trees, splits by event, scalers; and Pythia to make them."""

from hepprune.data.files.root import iterate
from hepprune.data.jets import Jets, split
from hepprune.data.production import generate
from hepprune.data.reading import read
from hepprune.data.scaling import Scaler

__all__ = ["Jets", "Scaler", "generate", "iterate", "read", "split"]
