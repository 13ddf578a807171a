"""The network whose score of each jet a recipe's network learns."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from hepprune.data.inputs import TRANSFORMS
from hepprune.files.documents import Section
from hepprune.recipe.architectures import Architecture
from hepprune.recipe.base import Positive, one_of
from hepprune.training import Fit


class Teacher(Section):
    """A float network that is trained first, and whose score of each jet is what the recipe's network learns.

    A `reconstruction` learns to put together again what is not signal, and its score is the mean squared residual, to
    which a `transform` is applied. Of a `latent` the scores are the values of the narrowest of the `hidden` layers,
    which then has no ReLU, with a mean of 0 and a spread of 1 over what is not signal. The task `binary` learns to tell
    signal, and its score is the logit. With `of_signal` false the network learns no score of signal.
    """

    task: Literal["reconstruction", "latent", "binary"] = "reconstruction"
    hidden: Annotated[tuple[Positive, ...], Field(min_length=1)] | None = None
    architecture: Architecture | None = None
    transform: Annotated[str, one_of("transform", TRANSFORMS)] = "none"
    of_signal: bool = True
    epochs: Positive = 20
    batch_size: Positive = 512
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3

    def _faults(self) -> Iterator[str]:
        if (self.hidden is None) == (self.architecture is None):
            yield "a teacher has hidden sizes or an architecture, one of the two"
        if self.hidden is None and self.task == "latent":
            yield "latent values are those of the narrowest of the hidden sizes; give hidden"
        if self.transform != "none" and self.task != "reconstruction":
            yield f"the transform {self.transform} is of scores from 0 up; those of {self.task} may be below"

    @property
    def narrowest(self) -> int:
        """Which of the hidden layers is the narrowest, counted from 1."""
        sizes = self.hidden or (1,)
        return 1 + sizes.index(min(sizes))

    @property
    def scores(self) -> tuple[str, ...]:
        """The names of its scores."""
        if self.task != "latent" or self.hidden is None:
            return ("score",)
        return tuple(f"mu_{index}" for index in range(min(self.hidden)))

    @property
    def fit(self) -> Fit:
        """Its training's settings."""
        return Fit(epochs=self.epochs, batch_size=self.batch_size, learning_rate=self.learning_rate, quantised=False)
