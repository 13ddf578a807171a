"""What becomes of each operator of ONNX and QONNX."""

from hepprune.frontends.onnx.operators import elementwise, quantising, recurrent, shaping, weighted  # noqa: F401 -- each registers its operators
from hepprune.frontends.onnx.operators.registry import OPERATORS, QUANTISERS

__all__ = ["OPERATORS", "QUANTISERS"]
