"""How much of an adder graph tables of few bits could take the place of, as an FPGA's LUT6 would hold them.

`python benchmarks/table_cover.py MODEL... [--bits 5 6 8 10]` solves each network as an adder graph and covers it from
its outputs on: wherever all that only one value needs, down to leaves of so many bits together, costs more than a table
of every output bit over the leaves' bits, the table takes its place. What is saved is the form of a neuron that a
search could choose beside its digits, without training for it.
"""

import argparse
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from da4ml.cmvm.types import minimal_kif

import hepprune
from hepprune.firmware import rtl
from hepprune.pruning.structure import surgery

_PORT, _CONSTANT, _OF_TWO, _CHOICES = -1, 5, (0, 1, 7), (6, -6)  # operation codes of da4ml
_MOST_CUTS = 16  # of a value, the narrowest

Cut = frozenset[int]


@dataclass(frozen=True)
class Graph:
    """Operations in the order they are made: bits, costs in LUT and operands of each, and how often each is read."""

    bits: list[int]
    costs: list[float]
    operands: list[list[int]]
    inner: list[bool]  # neither a port nor a constant
    read: Counter[int]

    @classmethod
    def of(cls, logic: Any) -> "Graph":
        """Return the graph that da4ml solved."""
        operands = [_operands(op) for op in logic.ops]
        read = Counter(itertools.chain(*operands, (index for index in logic.out_idxs if index >= 0)))
        return cls(
            bits=[0 if op.opcode == _CONSTANT else sum(minimal_kif(op.qint)) for op in logic.ops],
            costs=[float(op.cost) for op in logic.ops],
            operands=operands,
            inner=[op.opcode not in {_PORT, _CONSTANT} for op in logic.ops],
            read=read,
        )

    def width(self, cut: Cut) -> int:
        """Return the bits of all leaves of a cut."""
        return sum(self.bits[leaf] for leaf in cut)

    def cuts(self, most: int) -> list[list[Cut]]:
        """Return, of each value, sets of values of so many bits at most that it is a function of, itself the first."""
        found: list[list[Cut]] = []
        for value, operands in enumerate(self.operands):
            joined = {frozenset[int]()} if self.inner[value] or not self.bits[value] else set[Cut]()
            for operand in operands:
                both = {one | other for one in joined for other in found[operand]}
                joined = {cut for cut in both if self.width(cut) <= most}
            found.append([frozenset([value]), *sorted(joined, key=self.width)[:_MOST_CUTS]])
        return found

    def only_for(self, value: int, cut: Cut) -> list[int]:
        """Return the values between a cut and a value, itself too, that nothing else reads."""
        lost, found = Counter[int](), [value]
        for each in found:
            for operand in (other for other in self.operands[each] if other not in cut):
                lost[operand] += 1
                if lost[operand] == self.read[operand]:
                    found.append(operand)
        return found

    def table(self, cut: Cut, width: int) -> float:
        """Return the LUT of a table: two bits of a function of five in each, one of six, and twice for each more."""
        address = self.width(cut)
        return 2.0 ** max(address - 5, 0) * math.ceil(width / 2) * min(1.0, address / 5)


def _operands(op: Any) -> list[int]:
    if op.opcode in {_PORT, _CONSTANT}:
        return []
    if op.opcode in _CHOICES:
        return [op.id0, op.id1, op.data & 0xFFFFFFFF]
    return [op.id0, op.id1] if op.opcode in _OF_TWO else [op.id0]


def covered(graph: Graph, most: int) -> tuple[float, int]:
    """Return the LUT that tables of so many bits of address save, and how many they are."""
    cuts, saved, n_tables = graph.cuts(most), 0.0, 0
    for value in reversed(range(len(graph.bits))):
        if graph.read[value] <= 0 or not graph.inner[value]:
            continue
        gains = [(_gain(graph, value, cut), cut) for cut in cuts[value] if cut and value not in cut]
        gain, cut = max(gains, key=lambda each: each[0], default=(0.0, frozenset[int]()))
        if gain > 0:
            saved, n_tables = saved + gain, n_tables + 1
            _take(graph, value, cut)
    return saved, n_tables


def _gain(graph: Graph, value: int, cut: Cut) -> float:
    return sum(graph.costs[each] for each in graph.only_for(value, cut)) - graph.table(cut, graph.bits[value])


def _take(graph: Graph, value: int, cut: Cut) -> None:
    """Let a value read the leaves of a cut in the place of what it read."""
    gone = graph.only_for(value, cut)
    for each in gone:
        graph.read.subtract(graph.operands[each])
    graph.read.update(cut)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what tables would save of every model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--bits", type=int, nargs="+", default=[5, 6, 8, 10])
    given = parser.parse_args(arguments)
    print("| network | LUT | " + " | ".join(f"saved, {bits} bits" for bits in given.bits) + " |")
    print("|---" * (2 + len(given.bits)) + "|")
    for model in given.models:
        solution = rtl.solve(surgery.shrink(hepprune.read(model), warn=False))
        found = [covered(Graph.of(solution.logic), bits) for bits in given.bits]
        cells = " | ".join(f"{saved:,.0f} ({saved / solution.cost:.1%}), {tables}" for saved, tables in found)
        print(f"| {model.rpartition('/')[2]} | {solution.cost:,.0f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
