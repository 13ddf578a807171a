"""What can be done with a model alone, without jets: look into it, and remove what is dead."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hepprune import frontends
from hepprune.errors import EquivalenceError, NetworkError
from hepprune.frontends.checking import features, is_exact
from hepprune.network import Network
from hepprune.pruning.structure import surgery

_VECTORS = 10_000
_MAX_VALUES = 2**26  # of one value of the network, over all vectors


@dataclass(frozen=True, kw_only=True)
class Shrunk:
    """What surgery did to a model: where the new one is, sizes before and after, and the proof that both agree.

    `exact` says whether the network computes in fixed point, where outputs agree bit for bit; in float they agree to
    the rounding of sums, `difference` at most.
    """

    path: Path
    parameters_before: int
    parameters: int
    removed: dict[str, int]
    vectors: int
    exact: bool
    difference: float


def shrink(model: Any, path: Path) -> Shrunk:
    """Remove the dead structure of a model, prove that outputs stay as they are, and write it as the same kind of file.

    Raises:
        NetworkError: the model cannot be read or written.
        EquivalenceError: an output differs; nothing is written.
    """
    if isinstance(model, str | Path) and Path(model).resolve() == path.resolve():
        raise NetworkError(f"'{path}' is the model itself; give another file to write")
    network = frontends.read(model)
    smaller = surgery.shrink(network)
    exact, vectors, difference = _compare(network, smaller)
    frontends.write(smaller, path, like=model)
    removed = {name: n_out - smaller.sizes[name] for name, n_out in network.sizes.items()}
    return Shrunk(
        path=path,
        parameters_before=_parameters(network),
        parameters=_parameters(smaller),
        removed={name: count for name, count in removed.items() if count},
        vectors=vectors,
        exact=exact,
        difference=difference,
    )


def _parameters(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def _compare(network: Network, smaller: Network) -> tuple[bool, int, float]:
    """Return whether sums are exact, on how many random vectors outputs were compared, and their largest difference."""
    exact = is_exact(network)
    largest = max(network.widths.values())
    vectors = max(1, min(_VECTORS, _MAX_VALUES // largest))
    generator = torch.Generator().manual_seed(0)
    given = [features(layer, vectors, generator) for layer in network.inputs]
    before, after = (net.clone().double().activations(given) for net in (network, smaller))
    difference = max(float((before[name] - after[name]).abs().max()) for name in network.outputs)
    scale = max(float(before[name].abs().max()) for name in network.outputs)
    if not difference <= (0.0 if exact else 1e-9 * max(scale, 1.0)):
        raise EquivalenceError(f"the smaller network differs by {difference:g} on random inputs; nothing was written")
    return exact, vectors, difference
