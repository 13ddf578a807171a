import torch

from hepprune.search import kernels


def test_the_product_is_torchs_own() -> None:
    """The operator that it takes is not promised by torch, so a new torch has to pass here."""
    generator = torch.Generator().manual_seed(5)
    for shape in ((300, 16), (7, 1), (4, 3, 16)):
        values, weight, bias = (torch.randn(*s, generator=generator) for s in (shape, (9, shape[-1]), (9,)))
        for kind in (torch.float32, torch.float64):
            weight, bias, values = weight.to(kind), bias.to(kind), values.to(kind)
            expected = torch.nn.functional.linear(values, weight, bias)
            torch.testing.assert_close(kernels.linear(weight, bias, values), expected)
