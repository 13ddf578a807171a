"""Every kind of layer gets an answer to every question: a rule, or a refusal by name with what helps."""

import pytest

from hepprune.errors import NetworkError
from hepprune.firmware.layers import DESCRIPTIONS
from hepprune.firmware.tracing import TRACES
from hepprune.hardware.cost.describing import PRICED
from hepprune.network import Layer, Rules, Shared
from hepprune.network.layers import LAYERS
from hepprune.network.precision import PRECISION
from hepprune.network.ranges import RANGES
from hepprune.pruning.coupling import COUPLING
from hepprune.pruning.masks import SILENCE
from hepprune.pruning.removal import REMOVAL

QUESTIONS: dict[str, Rules] = {
    "precision": PRECISION,
    "range": RANGES,
    "Verilog": TRACES,
    "hls4ml": DESCRIPTIONS,
    "price": PRICED,
    "coupling": COUPLING,
    "removal": REMOVAL,
    "neurons": SILENCE,
}
# What there is no rule for today. A kind that is new, or gains a rule, has to be sorted in here.
REFUSED = {
    "precision": set(),
    "range": set(),
    "Verilog": {"LayerNorm", "Softmax"},
    "hls4ml": {"TopK"},
    "price": {"TopK"},
    "coupling": set(),
    "removal": set(),
    "neurons": set(LAYERS) - {"Dense", "Conv", "Recurrent", "Shared"},
}


def blank(kind: type[Layer]) -> Layer:
    """Return a layer of a kind, with a name and nothing else."""
    layer = kind.__new__(kind)
    Layer.__init__(layer, "mine")
    return layer


@pytest.mark.parametrize("kind", sorted(set(LAYERS) - {Shared.__name__}))  # a shared layer is asked as what it runs
@pytest.mark.parametrize("question", QUESTIONS)
def test_every_kind_is_answered_for_or_refused_with_what_helps(question: str, kind: str) -> None:
    rules, layer = QUESTIONS[question], blank(LAYERS[kind])
    assert (layer not in rules) == (kind in REFUSED[question])
    if layer in rules:
        assert callable(rules.find(layer))
    else:
        with pytest.raises(NetworkError, match=rf"^layer 'mine' \({kind}\) .+; .+"):
            rules.find(layer)
