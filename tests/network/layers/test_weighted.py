import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepprune.errors import NetworkError
from hepprune.network import Conv, Dense, Input, Network
from hepprune.network.layers import same_padding
from hepprune.network.layers.weighted import bordered


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[torch.nn.Module, Conv, torch.Tensor]:
    """A torch convolution, the same as ours, and values channels first that fit it."""
    rank, groups = draw(st.sampled_from([1, 2])), draw(st.sampled_from([1, 1, 2, 3]))
    n_in, n_out = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(rank))
    strides = tuple(draw(st.integers(1, 2)) for _ in range(rank))
    padding = tuple(draw(st.integers(0, 2)) for _ in range(rank))
    dilation = tuple(draw(st.integers(1, 2)) for _ in range(rank))
    kind = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d}[rank]
    torch.manual_seed(draw(st.integers(0, 999)))
    reference = kind(n_in, n_out, kernel, strides, padding, dilation, groups)
    ours = Conv(
        "conv",
        reference.weight.movedim(1, -1),
        reference.bias,
        strides=strides,
        padding=tuple((size, size) for size in padding),
        dilation=dilation,
        groups=groups,
    )
    return reference, ours, torch.randn(2, n_in, *(draw(st.integers(5, 8)) for _ in range(rank)))


@given(convolutions())
def test_a_convolution_is_torchs_channels_last(drawn: tuple[torch.nn.Module, Conv, torch.Tensor]) -> None:
    reference, ours, values = drawn
    wanted = reference(values).movedim(1, -1)
    network = Network([Input("x", tuple(values.movedim(1, -1).shape[1:])), ours])
    assert network.shapes["conv"] == tuple(wanted.shape[1:])
    assert torch.allclose(network(values.movedim(1, -1)), wanted, atol=1e-6)


@given(st.data())
def test_same_padding_gives_one_output_per_stride(data: st.DataObject) -> None:
    sizes = [data.draw(st.integers(1, top)) for top in (20, 5, 4, 3)]
    (n,), (k,), (s,), (d,) = ((size,) for size in sizes)
    ((low, high),) = same_padding((n,), (k,), (s,), (d,))
    if n + low + high >= (k - 1) * d + 1:
        assert (n + low + high - (k - 1) * d - 1) // s + 1 == math.ceil(n / s)
    assert 0 <= high - low <= 1


def test_dense_works_on_every_position_alike() -> None:
    layer = Dense("d", torch.randn(3, 4), torch.randn(3))
    values = torch.randn(5, 6, 4)
    together = Network([Input("x", (6, 4)), layer])(values)
    assert together.shape == (5, 6, 3)
    alone = torch.stack([Network([Input("x", 4), layer])(values[:, i]) for i in range(6)], dim=1)
    assert torch.allclose(together, alone, atol=1e-6)


def test_values_without_borders_are_not_copied() -> None:
    values = torch.ones(2, 1, 3)
    assert bordered(values, ((0, 0),)) is values
    assert bordered(values, ((1, 0),), -1.0)[0, 0].tolist() == [-1, 1, 1, 1]


@settings(max_examples=20)
@given(st.integers(0, 2))
def test_pruned_weights_stay_out_of_a_convolution(index: int) -> None:
    layer = Conv("c", torch.ones(1, 3, 1), torch.zeros(1))
    layer.digit_limit[0, index] = 0
    assert Network([Input("x", (3, 1)), layer])(torch.ones(1, 3, 1)).item() == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense("d", torch.ones(2, 3, 4), torch.ones(2)), "'d': a dense weight has two axes, not 3"),
        (lambda: Dense("d", torch.ones(2, 3), torch.ones(3)), "'d': weight .* do not fit"),
        (
            lambda: Dense("d", torch.ones(2, 3), torch.ones(2), digit_limit=torch.ones(2, 3)),
            r"'d' has a digit_limit of torch.float32 \(2, 3\), not of bytes in its weight's shape \(2, 3\)",
        ),
        (lambda: Conv("c", torch.ones(2, 3), torch.ones(2)), "'c': a convolution has a weight of 3 to 5 axes, not 2"),
        (lambda: Conv("c", torch.ones(2, 3, 1), torch.ones(2), strides=(0,)), "'c': strides and dilation start at 1"),
        (lambda: Conv("c", torch.ones(2, 3, 1), torch.ones(2), strides=(1, 1)), "'c': strides, dilation and padding"),
        (lambda: Conv("c", torch.ones(2, 3, 1), torch.ones(2), groups=3), "'c': 2 filters cannot be shared among 3"),
        (
            lambda: Network([Input("x", (4, 2)), Conv("c", torch.ones(1, 3, 1), torch.ones(1))]),
            r"'c' takes 1 axes of 1 channels, not the shape \(4, 2\)",
        ),
        (
            lambda: Network([Input("x", (2, 1)), Conv("c", torch.ones(1, 3, 1), torch.ones(1))]),
            r"'c' puts out the shape \(0, 1\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make: object, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        make()  # type: ignore[operator]
