import json
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.network import BatchNorm, Dense, Input, Network, ReLU, Softmax, exact_logits, identity, load, save
from hepprune.network.layers import Lookup
from tests.networks import SEEDS, features, networks
from tests.pruning import graphs


def small() -> Network:
    kind = FixedPoint(6, 2, True, "RND", "SAT")
    dense = Dense("d", torch.ones(2, 3) / 3, torch.zeros(2), weight_type=kind, bias_type=kind, reuse_factor=4)
    return Network([Input("x", 3, kind), dense, ReLU("r", FixedPoint(6, 2, False)), Softmax("s")])


@given(network=networks(), seed=SEEDS)
def test_a_network_comes_back_the_same(tmp_path: Path, network: Network, seed: int) -> None:
    again = load(save(network, tmp_path / "n.npz"))
    jets = features(network, seed=seed)
    assert identity(again) == identity(network)
    assert again.structure() == network.structure()
    assert np.array_equal(exact_logits(again, jets), exact_logits(network, jets))


def test_float_networks_and_settings_come_back_too(tmp_path: Path) -> None:
    chain = [Input("x", 2), BatchNorm("b", torch.rand(2), torch.rand(2))]
    network = Network(chain)
    again = load(save(network, tmp_path / "n"))
    jets = torch.rand(5, 2)
    assert torch.equal(again(jets), network(jets))
    assert load(save(small(), tmp_path / "m"))["d"].reuse_factor == 4


@pytest.mark.parametrize("stage", sorted(graphs.STAGES))
def test_every_layer_comes_back_with_its_own_settings(tmp_path: Path, stage: str) -> None:
    network = graphs.build([stage, "pool"], seed=3, fixed=True, flat=False)
    again = load(save(network, tmp_path / "n"))
    x = torch.randn(4, *network.input.features_shape)
    assert identity(again) == identity(network)
    assert torch.equal(again(x), network(x))


def test_a_learned_table_comes_back_too(tmp_path: Path) -> None:
    table = torch.arange(8.0).reshape(2, 4)
    network = Network([Input("x", 2, FixedPoint(4, 2)), Lookup("t", table, FixedPoint(2, 2))])
    found = load(save(network, tmp_path / "network.npz"))
    assert found.structure() == network.structure()
    assert torch.equal(found["t"].table, table)


def test_identity_tells_every_change() -> None:
    changes: list[Callable[[Network], Any]] = [
        lambda n: None,
        lambda n: n["d"].weight.data.mul_(1.0001),
        lambda n: n["d"].digit_limit.fill_(2),
        lambda n: setattr(n["d"], "bias_type", FixedPoint(7, 2)),
        lambda n: setattr(n["d"], "strategy", "latency"),
        lambda n: setattr(n.input, "result", None),
    ]
    names = []
    for change in changes:
        network = small()
        change(network)
        names.append(identity(network))
    assert len(set(names)) == len(changes)
    assert names[0] == identity(small())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="no network file at '.*gone.npz'"):
        load(tmp_path / "gone.npz")
    with pytest.raises(NetworkError, match="no network file"):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a network", pickle.dumps({"structure": 1})])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "n.npz").write_bytes(content)
    with pytest.raises(NetworkError, match="is not a network saved by hepprune"):
        load(tmp_path / "n.npz")


class Payload:
    """Says so if it is ever unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("unpickled"),)


def test_a_pickle_inside_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    structure = np.array(json.dumps(small().structure()))
    np.savez("n.npz", structure=structure, **{"layers.d.weight": np.array([Payload()], dtype=object)})
    with pytest.raises(NetworkError, match="allow_pickle"):
        load(Path("n.npz"))
    assert not Path("unpickled").exists()


@given(where=st.floats(0, 1), bits=st.integers(1, 255))
def test_a_damaged_file_is_refused_or_still_whole(tmp_path: Path, where: float, bits: int) -> None:
    path = save(small(), tmp_path / "n.npz")
    content = bytearray(path.read_bytes())
    content[int(where * (len(content) - 1))] ^= bits
    path.write_bytes(content)
    try:
        assert identity(load(path)) == identity(small())
    except NetworkError as problem:
        assert "n.npz" in str(problem)  # noqa: PT017 -- either end is allowed


@settings(max_examples=80)
@given(changes=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 299), st.integers(0, 255)), min_size=1, max_size=3))
def test_a_forged_array_is_refused_or_harmless(tmp_path: Path, changes: list[tuple[int, int, int]]) -> None:
    with zipfile.ZipFile(save(small(), tmp_path / "n.npz")) as archive:
        parts = {name: bytearray(archive.read(name)) for name in archive.namelist()}
    for which, where, byte in changes:
        content = list(parts.values())[which % len(parts)]
        content[where % len(content)] = byte
    with zipfile.ZipFile(tmp_path / "forged.npz", "w") as archive:  # with the right checksums
        for name, content in parts.items():
            archive.writestr(name, bytes(content))
    with warnings.catch_warnings(action="ignore"):  # numpy takes some forgeries for Python 2 files
        try:
            assert isinstance(load(tmp_path / "forged.npz"), Network)
        except NetworkError as problem:
            assert "forged.npz" in str(problem)  # noqa: PT017 -- either end is allowed


@given(share=st.floats(0, 0.99))
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = save(small(), tmp_path / "n.npz")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(NetworkError, match="is not a network saved by hepprune"):
        load(path)


def altered(path: Path, change: Callable[[dict[str, Any]], Any], **arrays: Any) -> Path:
    structure = small().structure()
    change(structure)
    own = {name: tensor.numpy() for name, tensor in small().state_dict().items()} | arrays
    np.savez(path, structure=np.array(json.dumps(structure)), **own)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["layers"][1].update(layer="Conx"), "unknown layer kind 'Conx'; choose one of: .*Dense"),
        (lambda s: s["layers"][1].update(weight_type="int8"), "'int8' is not a fixed-point type"),
        (lambda s: s["layers"][1].update(weight_type=8), "n.npz"),
        (lambda s: s["layers"][1].update(colour="red"), "n.npz"),
        (lambda s: s["layers"][1].pop("layer"), "n.npz"),
        (lambda s: s["layers"][1].update(name=3), "n.npz"),
        (lambda s: s["layers"].insert(1, 3), "n.npz"),
        (lambda s: s.update(layers=7), "n.npz"),
        (lambda s: s.pop("sources"), "n.npz"),
        (lambda s: s.update(sources=7), "n.npz"),
        (lambda s: s["sources"].update(d="s"), "unknown layer 's'"),
    ],
)
def test_a_wrong_structure_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        load(altered(tmp_path / "n.npz", change))


@pytest.mark.parametrize(
    "arrays",
    [
        {"layers.d.weight": np.ones(3, dtype=np.float32)},
        {"layers.d.weight": np.array(["a", "b"])},
        {"layers.d.bias": np.ones(7, dtype=np.float32)},
        {"layers.d.digit_limit": np.ones((1, 1), dtype=np.uint8)},
        {"layers.d.surprise": np.ones(1)},
    ],
)
def test_wrong_arrays_are_refused(tmp_path: Path, arrays: dict[str, Any]) -> None:
    with pytest.raises(NetworkError):
        load(altered(tmp_path / "n.npz", lambda _: None, **arrays))


def test_an_archive_that_unpacks_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hepprune.network.storage._MAX_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "n.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("structure.npy", b"0" * 2000)
    with pytest.raises(NetworkError, match="unpacks to more than 1000 bytes"):
        load(tmp_path / "n.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reuse_factor": "x"}, "layer 'd' has reuse_factor = \"x\": input should be a valid integer"),
        ({"reuse_factor": True}, "has reuse_factor = true: input should be a valid integer"),
        ({"reuse_factor": None}, "has reuse_factor = null"),
        ({"reuse_factor": 2.5}, "has reuse_factor = 2.5"),
        ({"reuse_factor": 0}, "has reuse factor 0, not a whole number from 1 to"),
        ({"reuse_factor": -1}, "has reuse factor -1, not a whole number from 1 to"),
        ({"reuse_factor": 10**30}, "numbers are below 2147483648"),
        ({"strategy": 3}, "has strategy = 3: input should be a valid string"),
        ({"strategy": "nonsense"}, "unknown strategy 'nonsense'; choose one of: "),
        ({"layer": "ReLU", "maximum": "six"}, 'has maximum = "six": input should be a valid number'),
        ({"layer": "ReLU", "maximum": float("nan")}, "has maximum = NaN"),
        ({"layer": "Slice", "start": 0, "stop": 10**30}, "numbers are below"),
        ({"layer": "Permute", "order": 3}, "has order = 3: input should be a valid"),
        ({"layer": "Permute", "order": [0.5]}, "has order = "),
        ({"layer": "UpSample", "factors": ["a"]}, "has factors = "),
        ({"layer": "Softmax", "axis": [1]}, "has axis = "),
        ({"layer": "Activation", "function": "elu", "parameters": {"alpha": "one"}}, "has parameters = "),
    ],
)
def test_a_setting_of_another_kind_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    def change(structure: dict[str, Any]) -> None:
        layer = structure["layers"][1]
        if "layer" in changes:
            layer.clear()
        layer |= {"name": "d"} | changes

    with pytest.raises(NetworkError, match=message):
        load(altered(tmp_path / "n.npz", change))


def test_arrays_of_several_floating_types_are_refused(tmp_path: Path) -> None:
    path = altered(tmp_path / "n.npz", lambda _: None, **{"layers.d.weight": np.ones((2, 3))})
    with pytest.raises(NetworkError, match=r"all float32 or all float64; here d\.weight is torch.float64, d\.bias is"):
        load(path)
