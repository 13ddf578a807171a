import pytest
import torch

from hepprune.errors import NetworkError
from hepprune.network import Input, Network, Recurrent

# Where Keras's gates stand among torch's: an LSTM's are in the same order, a GRU's update and reset change places.
ORDER = {"simple": (0,), "lstm": (0, 1, 2, 3), "gru": (1, 0, 2)}
TORCH = {"simple": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


def gates(values: torch.Tensor, cell: str) -> torch.Tensor:
    parts = values.chunk(len(ORDER[cell]))
    return torch.cat([parts[index] for index in ORDER[cell]])


@pytest.mark.parametrize("cell", sorted(ORDER))
@pytest.mark.parametrize("whole", [True, False])
def test_a_recurrent_layer_is_torchs(cell: str, *, whole: bool) -> None:
    torch.manual_seed(0)
    reference = TORCH[cell](3, 4, batch_first=True)
    names = {
        "weight": "weight_ih_l0",
        "recurrent_weight": "weight_hh_l0",
        "bias": "bias_ih_l0",
        "recurrent_bias": "bias_hh_l0",
    }
    arrays = {ours: gates(getattr(reference, theirs), cell) for ours, theirs in names.items()}
    layer = Recurrent("r", cell, **arrays, return_sequences=whole)
    values = torch.randn(5, 6, 3)
    wanted, _ = reference(values)
    ours = Network([Input("x", (6, 3)), layer])(values)
    assert torch.allclose(ours, wanted if whole else wanted[:, -1], atol=1e-6)


def test_backwards_is_the_same_on_turned_steps() -> None:
    torch.manual_seed(1)
    arrays = {"weight": torch.randn(8, 3), "recurrent_weight": torch.randn(8, 2), "bias": torch.randn(8)}
    arrays["recurrent_bias"] = torch.zeros(8)
    values = torch.randn(4, 5, 3)
    ahead, back = (
        Network([Input("x", (5, 3)), Recurrent("r", "lstm", **arrays, backwards=turned)]) for turned in (False, True)
    )
    assert torch.allclose(back(values), ahead(values.flip(1)), atol=1e-6)


def test_what_is_no_cell_is_refused() -> None:
    arrays = {
        "weight": torch.ones(6, 3),
        "recurrent_weight": torch.ones(6, 2),
        "bias": torch.ones(6),
        "recurrent_bias": torch.ones(6),
    }
    with pytest.raises(NetworkError, match="'r' has weights and biases .*, not those of a lstm cell"):
        Recurrent("r", "lstm", **arrays)
    with pytest.raises(NetworkError, match="unknown cell 'mgu'"):
        Recurrent("r", "mgu", **arrays)
    with pytest.raises(NetworkError, match=r"takes steps of 3 values and is given the shape \(5, 4\)"):
        Network([Input("x", (5, 4)), Recurrent("r", "gru", **arrays)])
