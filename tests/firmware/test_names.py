"""Names in firmware: safe for every tool, unlike each other in any case, and back again."""

import itertools
import subprocess
from pathlib import Path

import hls4ml
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from hepprune.firmware import equivalence, hls, names, rtl
from hepprune.firmware.names import WORDS, is_reserved
from hepprune.firmware.verilog import verilator
from hepprune.fixed import FixedPoint
from hepprune.network import Dense, Input, Network, ReLU, Softmax
from hepprune.network.layers import Concatenate

KIND = FixedPoint(6, 3, True, "RND", "SAT")
PART = "xcvu13p-flga2577-2-e"
TEMPLATES = Path(hls4ml.__file__).parent / "templates" / "vivado"
ODD_FOLDER = "a \"b' $LIB \\ é (1)"
# Words of C++, its macros, hls4ml's variables, functions and types, test bench and bridge; and names that become alike.
INPUTS = (
    "input", "Input", "int", "errno", "stdin", "assert", "NULL", "M_PIl", "unix", "EOF", "std", "size_t", "main", "exp",
    "w2", "b2", "wr4", "layer2_out", "layer2", "config2", "input_t", "nnet", "hls", "ap_fixed", "weights", "model_default_t",
    "loaded_weights", "e", "i", "in_", "pr", "fout", "x", "X", "x_ap", "jets", "jets_double", "jets_float", "Jets", "space",
    "reg", "signal", "_a__b_", "N" + "a" * 300, "N" + "a" * 301,
)  # fmt: skip


def many_names() -> Network:
    """Every dangerous name an input; layers whose own nodes or types would have another's name; outputs twice."""
    inputs = [Input(name, 2, KIND) for name in INPUTS]
    weight = torch.tensor(np.random.default_rng(0).integers(-1, 2, (4, 2 * len(inputs))), dtype=torch.float32)
    dense = Dense("softmax", weight, torch.zeros(4), weight_type=FixedPoint(4, 2), bias_type=KIND, result=KIND)
    layers = [Concatenate("softmax_exp"), dense, ReLU("softmax_exp_1", KIND), Softmax("class")]
    sources = {"softmax_exp": INPUTS, "softmax": "softmax_exp", "softmax_exp_1": "softmax", "class": "softmax"}
    ends = ["softmax_exp_1", "class", "softmax", "softmax", "input", "X"]
    return Network([*inputs, *layers], sources, ends)


@pytest.mark.slow
def test_any_names_and_any_folder_make_a_project_that_computes_the_network(tmp_path: Path) -> None:
    network = many_names()
    project = hls.export(
        network, tmp_path / ODD_FOLDER, part=PART, clock_ns=5.0, clock_uncertainty=0.27, name="jets", namespace="space"
    )
    hls.compile(project, n_jets=300)
    features = [np.random.default_rng(1).normal(size=(100, 2)) for _ in INPUTS]
    assert equivalence.against_csim(network, project, features).mismatches == 0
    found = hls.predictions(project, features)
    assert list(found) == ["softmax_exp_1", "class", "softmax", "input", "X"]
    assert np.array_equal(found["X"], KIND(features[INPUTS.index("X")]))
    kept = names.TABLE.validate_json((project.folder / names.FILE).read_bytes())
    assert kept == project.names
    assert {kept.layer(there) for there in kept.layers.values()} == set(network.layers)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["module", "mux", "Shift_Adder"])
def test_any_top_and_any_folder_make_verilog_that_computes_the_network(name: str, tmp_path: Path) -> None:
    dense = Dense("fc", torch.eye(2), torch.zeros(2), weight_type=FixedPoint(4, 2), bias_type=KIND)
    network = Network([Input("features", 2, KIND), dense])
    design = rtl.write_verilog(
        rtl.solve(network), tmp_path / ODD_FOLDER, name=name, levels_per_cycle=2, part=PART, clock_ns=5.0
    )
    assert design.top == f"{name}_1"
    got = verilator.simulate(verilator.build(design), KIND(np.ones((3, 2))))
    assert np.array_equal(got, np.ones((3, 2)))
    kept = names.TABLE.validate_json((design.folder / names.FILE).read_bytes())
    assert kept.shown_top(design.top) == name


def test_a_name_that_firmware_can_have_stays() -> None:
    ordinary = ["features", "fc1", "dense_1", "relu", "layer_0", "x", "input_1", "Dense2"]
    assert names.safe(ordinary) == {name: name for name in ordinary}
    assert names.safe(["fc.typed", "fc_typed", "fc", "FC"]) == {
        "fc.typed": "fc_typed_1", "fc_typed": "fc_typed", "fc": "fc", "FC": "fc_1",
    }  # fmt: skip


def test_no_macro_of_the_project_is_a_name(tmp_path: Path) -> None:
    """A local variable may be called as a function elsewhere, but not as a macro: the compiler lists its own."""
    headers = ["ap_fixed.h", "hls_stream.h", *(f"nnet_utils/nnet_{each}.h" for each in ("helpers", "common", "dense"))]
    source = tmp_path / "all.cpp"
    source.write_text("".join(f'#include "{header}"\n' for header in headers))
    command = ["g++", "-std=gnu++17", "-dM", "-E", f"-I{TEMPLATES}", f"-I{TEMPLATES}/ap_types", str(source)]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    macros = {line.split()[1].partition("(")[0] for line in listed}
    assert len(macros) > 500
    assert not macros & set(names.safe(sorted(macros)).values())


@given(st.lists(st.one_of(st.text(max_size=8), st.sampled_from(sorted(WORDS)), st.sampled_from(INPUTS)), max_size=12))
def test_each_name_has_one_of_its_own_and_leads_back(given_: list[str]) -> None:
    table = names.safe(given_, taken=["tagger"])
    words = [word.lower() for word in table.values()]
    assert set(table) == set(given_)
    assert len({*words, "tagger"}) == len(words) + 1
    for word in table.values():
        assert word.isascii()
        assert word.isidentifier()
        assert not is_reserved(word)
        assert not any(pair == ("_", "_") for pair in itertools.pairwise(f"_{word}_"))
        assert len(word) < 64
    known = names.Names({}, table)
    assert all(known.node(word) == name for name, word in table.items())
    assert TypeAdapter(names.Names).validate_json(names.TABLE.dump_json(known)) == known
