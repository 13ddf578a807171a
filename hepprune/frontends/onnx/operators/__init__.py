"""What becomes of each operator of ONNX and QONNX."""

from hepprune.frontends.onnx.operators import (  # noqa: F401 -- each registers its operators
    arithmetic,
    elementwise,
    pooling,
    quantising,
    recurrent,
    shaping,
    taking,
    weighted,
)
from hepprune.frontends.onnx.operators.registry import OPERATORS, QUANTISERS

__all__ = ["OPERATORS", "QUANTISERS"]
