"""Float networks to train: jets as constituents, as sequences or as images, with one output or several."""

from typing import Annotated

from pydantic import Field

from hepprune.recipe.architectures.base import Shape, draw
from hepprune.recipe.architectures.kinds import GRU, Attention, Convolutional, DeepSets, Interaction

Architecture = Annotated[DeepSets | Interaction | GRU | Attention | Convolutional, Field(discriminator="kind")]

__all__ = ["GRU", "Architecture", "Attention", "Convolutional", "DeepSets", "Interaction", "Shape", "draw"]
