import pytest
import torch

from hepprune.fixed import FixedPoint
from hepprune.search.sensitivity import kernels


def test_the_product_is_torchs_own() -> None:
    """The operator that it takes is not promised by torch, so a new torch has to pass here."""
    generator = torch.Generator().manual_seed(5)
    for shape in ((300, 16), (7, 1), (4, 3, 16)):
        values, weight, bias = (torch.randn(*s, generator=generator) for s in (shape, (9, shape[-1]), (9,)))
        for kind in (torch.float32, torch.float64):
            weight, bias, values = weight.to(kind), bias.to(kind), values.to(kind)
            expected = torch.nn.functional.linear(values, weight, bias)
            torch.testing.assert_close(kernels.linear(weight, bias, values), expected)


@pytest.mark.parametrize("width", [8, 24, 25, 32])
def test_a_rectified_value_is_that_of_its_type_however_wide(width: int) -> None:
    kind = FixedPoint(width, 4, False, "TRN", "SAT")
    values = torch.tensor([-1.0, 0.3, 7.9, 15.99999, 16.0, 1e9])
    kernel = kernels._relu(kind, kind.step, in_place=False)
    assert torch.equal(kernel(values / kind.step) * kind.step, kind(values.clamp(min=0)))
