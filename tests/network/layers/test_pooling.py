import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepprune.errors import NetworkError
from hepprune.network import GlobalPool, Input, Network, Pool

TORCH = {
    ("max", 1): torch.nn.MaxPool1d,
    ("max", 2): torch.nn.MaxPool2d,
    ("average", 1): torch.nn.AvgPool1d,
    ("average", 2): torch.nn.AvgPool2d,
}


@given(st.data())
def test_pooling_is_torchs_without_counting_padding(data: st.DataObject) -> None:
    kind, rank = data.draw(st.sampled_from(sorted(TORCH)))
    size = tuple(data.draw(st.integers(1, 3)) for _ in range(rank))
    strides = tuple(data.draw(st.integers(1, 3)) for _ in range(rank))
    padding = tuple(data.draw(st.integers(0, n // 2)) for n in size)
    options = {} if kind == "max" else {"count_include_pad": False}
    reference = TORCH[kind, rank](size, strides, padding, **options)
    values = torch.randn(2, 3, *(data.draw(st.integers(4, 7)) for _ in range(rank)))
    ours = Pool("p", kind, size, strides=strides, padding=tuple((n, n) for n in padding))
    network = Network([Input("x", tuple(values.movedim(1, -1).shape[1:])), ours])
    wanted = reference(values).movedim(1, -1)
    assert network.shapes["p"] == tuple(wanted.shape[1:])
    assert torch.allclose(network(values.movedim(1, -1)), wanted, atol=1e-6)


@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize("keep_axes", [True, False])
def test_global_pooling_leaves_channels(kind: str, *, keep_axes: bool) -> None:
    values = torch.randn(4, 3, 5, 2)
    pooled = Network([Input("x", (3, 5, 2)), GlobalPool("p", kind, keep_axes)])(values)
    flat = values.reshape(4, 15, 2)
    wanted = flat.amax(dim=1) if kind == "max" else flat.mean(dim=1)
    assert pooled.shape == ((4, 1, 1, 2) if keep_axes else (4, 2))
    assert torch.allclose(pooled.reshape(4, 2), wanted, atol=1e-6)


def test_what_cannot_be_pooled_is_refused() -> None:
    with pytest.raises(NetworkError, match="unknown pooling 'mean'; choose one of: .*average"):
        Pool("p", "mean", (2,))
    with pytest.raises(NetworkError, match="'p' has no positions to pool"):
        Network([Input("x", 3), GlobalPool("p", "max")])
    with pytest.raises(NetworkError, match="'p' pools 2 axes and is given the shape"):
        Network([Input("x", (3, 2)), Pool("p", "max", (2, 2))])
