"""Constants: which values of a network are the same whatever comes in, proved and not watched."""

import torch
from torch import Tensor

from hepprune.network import Network, Node, layers
from hepprune.network.ranges import intervals

# Those whose value is NaN wherever it depends on a NaN.
_TRANSPARENT = (
    *(layers.ReLU, layers.Activation, layers.PReLU, layers.BatchNorm, layers.Pool, layers.GlobalPool),
    *(layers.Merge, layers.Einsum, *layers.MOVING),
)
_TYPES = ("result", "_type")  # how the names of quantisers end


@torch.no_grad()
def constants(network: Network) -> dict[str, Tensor]:
    """Return each layer's value, float64 of its shape: NaN wherever it can change.

    In fixed point a value is constant whose range is one number; in float one that is zero because no input reaches
    it, as behind a ReLU of a neuron without weights whose bias is negative.
    """
    settings = (pair for layer in network for pair in vars(layer).items())
    quantised = any(value is not None for key, value in settings if key.endswith(_TYPES))
    ranges = intervals(network, open_ended=True) if quantised else {}
    found = {}
    for name, value in _untouched(network).items():
        found[name] = torch.where(value == 0, 0.0, torch.nan).double()
        if name in ranges:
            ends = (ranges[name][1].low, ranges[name][1].high)
            low, high = (torch.as_tensor(end).broadcast_to(value.shape) for end in ends)
            found[name] = torch.where(low == high, low, found[name])
    return found


def _untouched(network: Network) -> dict[str, Tensor]:
    """Return the values that no input reaches, all others NaN."""
    dtype = next(network.parameters(), torch.zeros(1)).dtype

    def rule(node: Node, *arriving: Tensor) -> Tensor:
        unknown = torch.full(node.shape, torch.nan, dtype=dtype)
        rounded = (torch.as_tensor(result(torch.full((1,), torch.nan))) for result in node.results)
        layer, value = node.layer, unknown
        if all(bool(torch.isnan(each).all()) for each in rounded):  # else these hide what can change
            if isinstance(layer, layers.Weighted):
                value = torch.where((layer.used_weight() == 0).flatten(1).all(dim=1), layer.used_bias(), unknown)
            elif isinstance(layer, layers.Recurrent):
                value = torch.where(silent_states(layer), 0.0, unknown)
            elif isinstance(layer, _TRANSPARENT):
                made = layer.compute(*(each[None] for each in arriving), quantised=True)
                value = made[0].broadcast_to(unknown.shape)
        return node.quantised(value).to(dtype)

    return network.interpret(rule)


def silent_states(layer: layers.Recurrent) -> Tensor:
    """Return which states start at zero and have nothing that could move them, (n_out,)."""
    vanishes = not layer.act(torch.zeros(1)).any()
    arrays = (layer.used("weight"), layer.used("recurrent_weight"), *layer.used_biases())
    still = torch.stack([(array == 0).reshape(len(array), -1).all(dim=1) for array in arrays]).all(dim=0)
    kept = layer.state_type is None or not torch.as_tensor(layer.state_type(torch.zeros(layer.n_out))).any()
    return still.reshape(-1, layer.n_out).all(dim=0) & vanishes & kept
