"""Table layers of HGQ2, whose edges are learned functions, beside what HGQ2 itself computes with them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hepprune import training
from hepprune.errors import NetworkError
from hepprune.firmware import rtl
from hepprune.fixed import FixedPoint
from hepprune.frontends import keras as frontend
from hepprune.frontends.keras.registry import LAYERS, Native
from hepprune.hardware import cost, targets
from hepprune.network import Lookup, Network, exact_logits
from hepprune.pruning import statistics
from hepprune.pruning.structure import surgery
from hepprune.task.sample import Sample
from tests.frontends import interpreters
from tests.frontends.keras.data.moving import moving
from tests.frontends.keras.hgq.test_hgq import DATA, altered

PATH, KEPT = DATA / "hgq_tables.keras", np.load(DATA / "hgq_tables.npz")
INPUTS = FixedPoint(10, 4, True, "RND", "SAT")  # where edges read an input in several types, its own is to be given


def computed(network: Network, dtype: torch.dtype = torch.float32) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = network.clone().to(dtype)(torch.as_tensor(KEPT["features"], dtype=dtype)).numpy()
    return found.astype(np.float32)


def pruned(*, shuts: bool = False) -> Network:
    """Return the network without some edges, and without one of the outputs between its layers.

    With `shuts`, other edges read nothing, and put out what their functions make of zero.
    """
    changed, rng = frontend.read(PATH), np.random.default_rng(0)
    for name in ("window", "hidden", "logits") + ("window_edges", "hidden_edges") * shuts:
        limit = changed[name].digit_limit
        limit[torch.as_tensor(rng.random(limit.shape) < 0.3)] = 0
    changed["hidden"].digit_limit[2] = 0
    return changed


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tables_compute_what_hgq_computes_bit_for_bit(dtype: torch.dtype) -> None:
    assert moving(KEPT["outputs"])
    np.testing.assert_array_equal(computed(frontend.read(PATH), dtype), KEPT["outputs"])


def test_dead_edges_and_what_only_they_supplied_are_taken_out_and_no_output_moves() -> None:
    changed = pruned()
    smaller = surgery.shrink(changed, warn=False)
    assert smaller.shapes["hidden"] == (4,) or smaller.shapes["hidden"][0] < changed.shapes["hidden"][0]
    assert smaller.shapes["hidden_edges"][0] < changed.shapes["hidden_edges"][0]
    np.testing.assert_array_equal(computed(smaller), computed(changed))


@pytest.mark.parametrize("shuts", [False, True])
def test_fewer_edges_are_written_as_they_compute(tmp_path: Path, *, shuts: bool) -> None:
    smaller = surgery.shrink(pruned(shuts=shuts), warn=False)
    written = frontend.write(smaller, tmp_path / "smaller.keras", like=PATH)
    read = frontend.read(written)
    np.testing.assert_array_equal(computed(read), computed(smaller))
    assert read.shapes == smaller.shapes


def test_training_moves_what_is_before_a_table_and_opens_no_edge() -> None:
    network, generator = frontend.read(PATH), torch.Generator().manual_seed(0)
    sample = Sample(torch.randn(256, 6, 2, generator=generator), torch.randint(3, (256,), generator=generator))
    assert all(found.weight_fisher.any() for found in statistics.gather(network, sample).values())
    trained, _ = training.fit(network, sample, sample, settings=training.Fit(epochs=8, learning_rate=0.5), seed=0)
    assert any(not torch.equal(kernel.used(), network.kernel(kernel.name).used()) for kernel in trained.kernels)
    assert all(bool((kernel.used() <= network.kernel(kernel.name).used()).all()) for kernel in trained.kernels)


@pytest.mark.slow
@pytest.mark.parametrize("shuts", [False, True])
def test_hgq_computes_fewer_edges_as_they_were_written(tmp_path: Path, *, shuts: bool) -> None:
    interpreters.of("hgq")
    smaller = surgery.shrink(pruned(shuts=shuts), warn=False)
    file = frontend.write(smaller, tmp_path / "smaller.keras", like=PATH)
    np.save(tmp_path / "features.npy", KEPT["features"])
    interpreters.run("hgq", DATA / "make_hgq.py", file, tmp_path / "features.npy", tmp_path / "outputs.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "outputs.npy"), computed(smaller))


def test_tables_become_an_adder_graph_with_a_price() -> None:
    network = frontend.read(PATH)
    network.input.result = INPUTS
    jets = KEPT["features"].astype(np.float64)
    solution = rtl.solve(network)
    found = solution.logic.predict(np.ascontiguousarray(INPUTS(jets)).reshape(len(jets), -1))
    np.testing.assert_array_equal(found, exact_logits(network, jets))
    price = cost.adder_graph(network, targets.load("generic_vu13p")).resources.lut
    assert price == pytest.approx(solution.cost, rel=0.25)


def test_an_edge_that_was_changed_otherwise_is_refused(tmp_path: Path) -> None:
    network = frontend.read(PATH)
    tables = network["hidden_tables"]
    assert isinstance(tables, Lookup)
    tables.table[0] += 1
    with pytest.raises(NetworkError, match="'hidden_tables' has settings or weights that a file of Keras cannot hold"):
        frontend.write(network, tmp_path / "changed.keras", like=PATH)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"n_hl": 2', '"n_hl": 3', "'hidden' .* needs an array of shape .* and has one of shape"),
        ('"n_hl": 2', '"n_hl": 99', "'hidden' .* has n_hl = 99"),
        ('"config": "tanh"', '"config": "mish"', "has edges with the activation mish"),
        ('"n_out": 5', '"n_out": 6', "'hidden' .* do not fit"),
    ],
)
def test_what_cannot_be_taken_over_is_named(old: str, new: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=sentence) as raised:
        frontend.read(altered(PATH, tmp_path, old, new))
    assert "\n" not in str(raised.value)


def test_tables_that_do_not_fit_are_refused() -> None:
    with pytest.raises(NetworkError, match="looks up a NoneType, no fixed-point type"):
        Lookup("t", torch.zeros(2, 4), None)  # type: ignore[arg-type]
    with pytest.raises(NetworkError, match="has a table of shape"):
        Lookup("t", torch.full((2, 4), torch.nan), INPUTS)
    with pytest.raises(NetworkError, match=r"has tables of shape \(2,\), not for \(3,\)"):
        Lookup("t", torch.zeros(2, 4), INPUTS).shape((3,))


def described(kind: str, arrays: dict[str, tuple[int, ...]], arriving: tuple[int, ...], **config: object) -> Native:
    """Return a table layer whose arrays are ones, of which the large ones take no memory."""
    types = {"class_name": "C", "config": {"q_type": "kif", "overflow_mode": "SAT", "round_mode": "RND"}}
    shapes = {"module/layers/einsum_dense/vars/0": arrays["kernel"]}
    shapes |= {f"iq/quantizer/vars/{number}": arrays["iq"] for number in range(3)}
    shapes |= {f"toq/quantizer/vars/{number}": (1,) * len(arrays["iq"]) for number in range(3)}
    shapes |= {"module/layers/einsum_dense_1/vars/0": arrays["last"]} if "last" in arrays else {}
    shapes |= {f"bn_module/vars/{number}": arrays.get("norm", ()) for number in range(4)}
    stored = {place: np.broadcast_to(np.ones(()), shape) for place, shape in shapes.items()}
    stored = {place: array.copy() if array.size < 10_000 else array for place, array in stored.items()}
    settings = {"n_hl": 0, "subnn_activation": "tanh", "use_bias": False, "iq_conf": types, "toq_conf": types}
    return Native(name="a", path="a", kind=kind, config=settings | config, stored=stored, arriving=(arriving,))


@pytest.mark.parametrize(
    ("native", "sentence"),
    [
        (
            described("QDenseT", {"kernel": (256, 1024, 1), "iq": (1, 4096, 256, 1)}, (4096, 256), n_out=1024),
            "layer 'a' .* has functions for 1073741824 edges, which are not small tables",
        ),
        (
            described(
                "QDenseT",
                {"kernel": (1, 1, 1, 4096), "last": (1, 1, 4096), "iq": (1, 2**18, 1, 1)},
                (2**18, 1),
                n_out=1,
                n_hl=1,
                d_hl=4096,
            ),
            "layer 'a' .* has functions of 3 bits for 262144 edges, which are not small tables",
        ),
        (
            described(
                "QEinsumDenseT",
                {"kernel": (1, 2, 1024, 1), "iq": (1, 2**20, 1, 2, 1)},
                (2**20, 1),
                equation="nfa,acd->nfcd",
            ),
            "layer 'a' .* iq/quantizer/vars/0 that cannot .* of shape \\(1048576, 1, 2048\\), which are not small tables",
        ),
        (
            described(
                "QDenseT",
                {"kernel": (2, 2, 1), "iq": (1, 1, 1), "norm": (2**30, 1, 1)},
                (2,),
                n_out=2,
                batch_norm=True,
                equation="bc,cd->bd",
            ),
            "layer 'a' .* needs an array of shape \\(2,\\) at bn_module/vars/0",
        ),
    ],
)
def test_large_tables_are_refused_before_they_are_laid_out(native: Native, sentence: str) -> None:
    with pytest.raises(NetworkError, match=sentence):
        LAYERS[native.kind].lower(native, native.arriving)
