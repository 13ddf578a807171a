"""What every section of a recipe is."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, le=1)]


class Section(BaseModel):
    """Keys that are known, values that are finite and stay."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
