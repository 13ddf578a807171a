"""Prices of masked networks: what dead neurons cost, which only adder graphs have for nothing."""

from collections.abc import Callable

from hepprune.hardware.cost import hls, matrices
from hepprune.hardware.resources import Estimate
from hepprune.network import Network
from hepprune.pruning.structure import surgery
from hepprune.search.moves import knobs

Price = Callable[[Network], Estimate]


def of_graphs(price: Price) -> Price:
    """Return a price that counts no dead neurons; adder graphs have none, whatever else is priced has.

    What they feed, activations, pools and products, is priced by the size of values, whatever is in them.
    """

    def alive(network: Network) -> Estimate:
        found = price(network)
        is_graph = found.strategy == "distributed_arithmetic" and found.stage != hls.STAGE
        return found if is_graph or matrices.covers(network) else without_dead(network, price=price)

    return alive


def without_dead(network: Network, *, price: Price) -> Estimate:
    """Return the price of what is left of a masked network."""
    acts = [kernel.digit_limit.flatten(1) > 0 for kernel in network.kernels]
    rows, columns = (each.any(dim=1) for each in acts), (each.any(dim=0) for each in acts[1:])  # features stay unread
    # surgery takes long to find no neuron that is left without weights, or is read by none
    is_whole = all(bool(alive.all()) for alive in (*rows, *columns))
    return price(knobs.settled(network if is_whole else surgery.shrink(network, warn=False)))
