import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.network import Dense, Input, Merge, Network, ReLU, Shared
from hepprune.pruning import masks
from hepprune.search.sensitivity import replay
from hepprune.search.sensitivity.replay import LayerVariants
from tests import networks
from tests.networks import weighted

KIND = FixedPoint(6, 2, False, "TRN", "SAT")


def logits(network: Network, x: torch.Tensor, groups: list[LayerVariants]) -> dict[str, torch.Tensor]:
    """The logits of every group's variants, (n_jets, n, n_classes)."""
    found = {}
    for some, chunks in replay.run(network, x, groups, lambda chunk: chunk.stacked):
        for index, group in enumerate(some):
            stacked = torch.cat([chunk[index] for chunk in chunks])
            found[group.name] = stacked.view(len(x), len(group), -1)
    return found


@torch.no_grad()
def check(network: Network, x: torch.Tensor, groups: list[LayerVariants]) -> None:
    """Every variant gives the logits of the whole network with that layer in its place, bit for bit."""
    found = logits(network, x, groups)
    for group in groups:
        for place, layer in enumerate(group.layers):
            assert torch.equal(found[group.name][:, place], network.replacing({group.name: layer}).logits(x))


@given(st.data())
def test_it_equals_running_the_whole_network_with_the_stand_in(data: st.DataObject) -> None:
    network = data.draw(st.one_of(networks.networks(), networks.sequence_networks()))
    x = torch.as_tensor(networks.features(network, seed=data.draw(networks.SEEDS)), dtype=torch.float32)
    groups = []
    for layer in weighted(network):
        half = masks.Cut(layer.name, "weight", tuple(range(layer.weight.numel() // 2)))
        groups.append(LayerVariants((masks.with_cut(layer, half), layer)))
    for layer in network:
        if isinstance(layer, Input | ReLU):
            other = layer.rebuilt(result=data.draw(networks.fixed_points(signed=isinstance(layer, Input))))
            groups.append(LayerVariants((layer, other)))
    check(network, x, groups)


def residual() -> Network:
    generator = torch.Generator().manual_seed(3)

    def dense(name: str, n_in: int, n_out: int) -> Dense:
        kind = FixedPoint(6, 1, True, "RND", "SAT")
        weight, bias = (torch.randn(*shape, generator=generator) for shape in ((n_out, n_in), (n_out,)))
        return Dense(name, weight, bias, weight_type=kind, bias_type=FixedPoint(12, 3, True, "RND", "SAT"))

    layers = [
        Input("x", 5, FixedPoint(8, 3, True, "RND", "SAT")),
        dense("a", 5, 6),
        ReLU("ra", KIND),
        dense("b", 6, 6),
        ReLU("rb", KIND),
        Shared("again", "b"),
        Merge("sum", "add", result=FixedPoint(8, 4, False, "RND", "WRAP")),
        dense("c", 6, 3),
    ]
    sources = {"a": "x", "ra": "a", "b": "ra", "rb": "b", "again": "rb", "sum": ("again", "ra"), "c": "sum"}
    return Network(layers, sources)


@torch.no_grad()
def test_branches_and_shared_weights_change_wherever_they_stand() -> None:
    network = residual()
    x = torch.randn(300, 5, generator=torch.Generator().manual_seed(4)) * 2
    changed = {name: masks.with_cut(network[name], masks.Cut(name, "weight", (0, 3, 4))) for name in "abc"}
    found = logits(network, x, [LayerVariants((layer,)) for layer in changed.values()])
    for name in changed:
        whole = masks.apply(network, [masks.Cut(name, "weight", (0, 3, 4))])
        assert torch.equal(found[name][:, 0], whole.logits(x))


def test_chunks_threads_and_batches_of_groups_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    network = residual()
    x = torch.randn(1000, 5, generator=torch.Generator().manual_seed(4))
    groups = [LayerVariants((network[name], network[name])) for name in "abc"]
    whole = logits(network, x, groups)
    monkeypatch.setattr(replay, "_CHUNK_BYTES", 1)
    monkeypatch.setattr(replay, "_STACK_BYTES", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    slices: list[slice] = []
    some = list(replay.run(network, x, groups, lambda chunk: slices.append(chunk.jets)))
    assert len(some) == 3
    assert sum(each.stop - each.start for each in slices) == 3 * len(x)
    assert all(torch.equal(whole[name], other) for name, other in logits(network, x, groups).items())


def test_the_networks_own_logits_come_along() -> None:
    network = residual()
    x = torch.randn(200, 5, generator=torch.Generator().manual_seed(4))
    ((_, found),) = replay.run(network, x, [LayerVariants((network["a"],))], lambda chunk: chunk.logits)
    with torch.no_grad():
        assert torch.equal(torch.cat(found), network.logits(x))


def test_a_layer_after_the_logits_is_refused() -> None:
    network = residual()
    stranger = ReLU("nowhere")
    with pytest.raises(NetworkError, match="'nowhere' does not come before the logits"):
        logits(network, torch.zeros(2, 5), [LayerVariants((stranger,))])
