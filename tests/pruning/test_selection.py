import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.network import Conv, Dense, Input, Network, ReLU
from hepprune.pruning import granularity as granularities
from hepprune.pruning import masks, selection
from hepprune.training import multilayer_perceptron
from tests.networks import SEEDS, weighted

SELECTED = ("weight", "dsp_row", "bram_row", "neuron")
SPARSITIES = st.floats(0, 0.5)  # a layer of one row keeps it


def layered(reuse_factor: int = 4) -> Network:
    network = multilayer_perceptron(8, (12, 6), 4, seed=1)
    for layer in weighted(network):
        layer.reuse_factor, layer.weight_type = reuse_factor, FixedPoint(6, 2, True, "RND", "SAT")
    return network


def drawn(network: Network, granularity: str, seed: int, *, tied: bool) -> dict[str, torch.Tensor]:
    """Return random scores, with many equal ones if `tied`."""
    generator = torch.Generator().manual_seed(seed)
    sizes = {la.name: int(granularities.groups(la.kernels[0], granularity)[-1]) + 1 for la in weighted(network)}
    scores = {name: torch.rand(size, generator=generator) for name, size in sizes.items()}
    return {name: (4 * s).round() for name, s in scores.items()} if tied else scores


@given(st.sampled_from(SELECTED), st.sampled_from(selection.SCOPES), SPARSITIES, SEEDS, st.booleans())
def test_the_sparsity_is_exact_and_the_lowest_go(
    granularity: str, scope: str, sparsity: float, seed: int, tied: object
) -> None:
    network = layered()
    scores = drawn(network, granularity, seed, tied=bool(tied))
    plan = selection.select(network, scores, sparsity, granularity=granularity, scope=scope, keep=1)
    masked, cut, stay = masks.apply(network, plan), [], []
    for layer in selection.prunable(network, granularity):
        groups, gone = granularities.groups(layer, granularity), masked[layer.name].digit_limit.flatten() == 0
        whole = torch.stack([gone[groups == g].all() for g in range(int(groups[-1]) + 1)])
        assert torch.equal(whole[groups], gone)  # a group goes as a whole, or stays as a whole
        assert not gone.all()
        cut.append(scores[layer.name][whole])
        stay.append(scores[layer.name][~whole])
        if scope == "local":
            assert len(cut[-1]) == round(sparsity * len(whole))
            assert not len(cut[-1]) or cut[-1].max() <= stay[-1].min()
    n_units = sum(len(part) for part in (*cut, *stay))
    if scope == "global":
        assert sum(len(part) for part in cut) == round(sparsity * n_units)
        spared = [part.sort().values[:-1] for part in stay]  # but for the one unit that each layer keeps
        assert torch.cat([*cut, torch.tensor([-1.0])]).max() <= torch.cat([*spared, torch.tensor([9.0])]).min()


@given(SEEDS, st.sampled_from([(1, 2), (2, 4), (3, 5)]))
def test_n_of_every_m_neighbours_stay(seed: int, pattern: tuple[int, int]) -> None:
    network, (kept, of) = layered(), pattern
    scores = drawn(network, "weight", seed, tied=True)
    masked = masks.apply(network, selection.select(network, scores, None, granularity=f"{kept}:{of}"))
    for layer in weighted(masked):
        alive = layer.digit_limit > 0
        for start in range(0, layer.n_in, of):
            block, values = alive[:, start : start + of], scores[layer.name].view_as(alive)[:, start : start + of]
            assert (block.sum(dim=1) == min(kept, block.shape[1])).all()
            assert (torch.where(block, values, 9).amin(dim=1) >= torch.where(block, -1, values).amax(dim=1)).all()


def test_equal_scores_go_by_index() -> None:
    network = layered()
    plan = selection.select(network, {la.name: torch.ones(la.weight.numel()) for la in weighted(network)}, 0.25)
    assert [(cut.layer, cut.units) for cut in plan] == [("dense_1", tuple(range(48)))]


def test_what_is_cut_already_goes_first_and_counts() -> None:
    network = masks.apply(layered(), [masks.Cut("dense_2", "weight", (3, 5))])
    plan = selection.select(network, drawn(network, "weight", 1, tied=False), 4 / (96 + 72 + 24))
    assert sum(len(cut.units) for cut in plan) == 4
    assert {3, 5} <= set(next(cut.units for cut in plan if cut.layer == "dense_2"))


def test_what_must_stay_is_among_what_is_left() -> None:
    network, scores = layered(), {"dense_3": torch.arange(24.0)}
    cut = masks.apply(network, [masks.Cut("dense_3", "weight", (22, 23))])
    (plan,) = selection.select(cut, scores, 22 / 24, keep=2)
    assert plan.units == (*range(20), 22, 23)


def test_without_a_sparsity_all_zeros_go() -> None:
    network = layered()
    scores = drawn(network, "weight", 1, tied=True)
    plan = selection.select(network, scores, None)
    assert {cut.layer: len(cut.units) for cut in plan} == {n: int((s == 0).sum()) for n, s in scores.items()}


@given(SEEDS, st.sampled_from(list(selection.NORMALISATIONS)))
def test_a_normalisation_keeps_the_order_within_a_layer(seed: int, name: str) -> None:
    scores = torch.rand(30, generator=torch.Generator().manual_seed(seed))
    normalised = selection.NORMALISATIONS[name](scores)
    assert torch.equal(normalised.argsort(stable=True), scores.argsort(stable=True))
    if name not in {"none", "lamp"}:
        assert torch.allclose(selection.NORMALISATIONS[name](1000 * scores), normalised)


def test_lamp_is_its_definition() -> None:
    found = selection.NORMALISATIONS["lamp"](torch.tensor([3.0, 1.0, 2.0]))
    assert found.tolist() == pytest.approx([1, 1 / 14, 4 / 13])


def test_rows_are_those_of_the_hardware() -> None:
    dense = Dense(
        "d", torch.zeros(6, 8), torch.zeros(6), reuse_factor=4, weight_type=FixedPoint(6, 2, True, "RND", "SAT")
    )
    assert granularities.groups(dense.kernels[0], "dsp_row").tolist() == [i // 4 for i in range(48)]
    assert granularities.groups(dense.kernels[0], "bram_row").tolist() == [
        i // 24 for i in range(48)
    ]  # 36 / 6 rows a word
    dense.weight_type = FixedPoint(16, 6, True, "RND", "SAT")
    assert granularities.groups(dense.kernels[0], "bram_row").tolist() == [
        i // 20 for i in range(48)
    ]  # 72 / 16, rounded up
    conv = Conv("c", torch.zeros(2, 3, 3, 4), torch.zeros(2), reuse_factor=9)
    assert granularities.groups(conv.kernels[0], "dsp_row").unique(return_counts=True)[1].tolist() == [9] * 8
    assert granularities.groups(conv.kernels[0], "neuron").tolist() == [0] * 36 + [1] * 36
    with pytest.raises(NetworkError, match="'c' has no weight type"):
        granularities.groups(conv.kernels[0], "bram_row")


@pytest.mark.parametrize(
    ("sparsity", "options", "said"),
    [
        (1.2, {}, "a sparsity lies between 0 and 1, 1.2 does not"),
        (-0.1, {}, "a sparsity lies between 0 and 1"),
        (float("nan"), {}, "a sparsity lies between 0 and 1"),
        (1.0, {}, "'dense_1' would be left empty"),
        (1.0, {"granularity": "neuron"}, "'dense_1' would be left empty"),
        (1.0, {"keep": 1}, "out of reach"),
        (0.5, {"granularity": "2:8"}, "'2:8' is the sparsity 0.75, not 0.5"),
        (None, {"granularity": "4:4"}, "1 <= N < M"),
        (0.5, {"granularity": "channels"}, "unknown granularity 'channels'"),
        (0.5, {"scope": "glbal"}, "unknown scope 'glbal'; choose one of: global, local"),
        (0.5, {"normalisation": "l3"}, "unknown normalisation 'l3'"),
    ],
)
def test_a_mistake_is_one_sentence(sparsity: float | None, options: dict[str, object], said: str) -> None:
    network = layered()
    granularity = "neuron" if options.get("granularity") == "neuron" else "weight"
    with pytest.raises(NetworkError, match=said):
        selection.select(network, drawn(network, granularity, 1, tied=False), sparsity, **options)


def test_classes_are_no_neurons_to_cut() -> None:
    network = layered()
    assert [layer.name for layer in selection.prunable(network, "neuron")] == ["dense_1", "dense_2"]
    with pytest.raises(NetworkError, match="nothing to prune"):
        selection.select(Network([Input("x", 2), ReLU("r")]), {}, 0.5)
