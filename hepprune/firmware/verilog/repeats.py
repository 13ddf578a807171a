"""Parts of an adder graph that stand in it several times, so that each can be one module with many instances.

An operation (in da4ml's notation) has an opcode, the places of up to two operands, `data`, in whose low half a
multiplexer has the place of its key, and the interval of its result. Parts end where values enter and leave the graph,
so the whole computes what it did, when it did.
"""

import itertools
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PortPlaces = tuple[int | None, ...]

_PORT, _CONSTANT, _TABLE, _MUXES = -1, 5, 8, (6, -6)
_KEY = 0xFFFFFFFF
_LEAST = 16  # operations that a module has to save


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A part at one of its places: its graph, the ports of the whole it reads, its operations, those it puts out."""

    graph: Any
    reads: tuple[int, ...]
    operations: tuple[int, ...]
    writes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Partition:
    """A graph as instances of parts, and a rest whose ports are those of the whole and then what the parts put out.

    `places` has for every output a number of the place that it is of, None where it is of several.
    """

    instances: tuple[Instance, ...]
    rest: Any
    places: PortPlaces


def split(graph: Any, places: PortPlaces) -> Partition:
    """Return a graph, whose ports are of known places, with what stands in it several times as instances of parts.

    Parts that share no port are looked for first, such as a layer at each of its places; then, in what is left, parts
    that share no operation, such as a kernel at places that overlap; then what comes before places meet.
    """
    counts = graph.ref_count
    inner = [i for i, op in enumerate(graph.ops) if op.opcode not in (_PORT, _CONSTANT) and counts[i]]
    apart, others = _repeated(graph, _connected(graph, inner, across=(_CONSTANT,)))
    overlapping, others = _repeated(graph, _connected(graph, others, across=(_CONSTANT, _PORT)))
    known: dict[int, int | None] = {i: places[op.id0] for i, op in enumerate(graph.ops) if op.opcode == _PORT}
    parts = defaultdict[int, list[int]](list)
    for i in others:
        read = {known[operand] for operand in _operands(graph.ops[i]) if graph.ops[operand].opcode != _CONSTANT}
        known[i] = place = read.pop() if len(read) == 1 else None
        if place is not None:
            parts[place].append(i)
    meeting, _ = _repeated(graph, parts.values())
    instances = (*apart, *overlapping, *meeting)
    return Partition(instances=instances, rest=_rest(graph, instances), places=_leaving(graph, instances, places))


def _leaving(graph: Any, instances: Iterable[Instance], places: PortPlaces) -> PortPlaces:
    """Return the places of the outputs; an instance that reads what is of several is a place of its own."""
    known: dict[int, int | None] = {i: places[op.id0] for i, op in enumerate(graph.ops) if op.opcode == _PORT}
    fresh = itertools.count(1 + max((place for place in places if place is not None), default=0))
    for instance in instances:
        read = {places[port] for port in instance.reads}
        place = read.pop() if len(read) == 1 else None
        known |= dict.fromkeys(instance.writes, next(fresh) if place is None else place)
    return tuple(known.get(i) for i in graph.out_idxs)


def contents(graph: Any) -> Any:
    """Return all that decides what a graph computes, to compare graphs by."""
    return tuple(graph.ops), tuple(graph.out_idxs), tuple(table.spec.hash for table in graph.lookup_tables or ())


def _operands(op: Any) -> tuple[int, ...]:
    if op.opcode in (_PORT, _CONSTANT):
        return ()
    key = (op.data & _KEY,) if op.opcode in _MUXES else ()
    return (*(place for place in (op.id0, op.id1) if place >= 0), *key)


def _connected(graph: Any, inner: Sequence[int], *, across: tuple[int, ...]) -> list[list[int]]:
    """Return operations in parts that have no value in common but those of kinds `across`."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    reads = [(place, operand) for place in inner for operand in _operands(graph.ops[place])]
    joined = [pair for pair in reads if graph.ops[pair[1]].opcode not in across]
    rows, columns = np.array(joined, np.int64).reshape(-1, 2).T
    edges = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(graph.ops), len(graph.ops)))
    _, labels = connected_components(edges, directed=False)
    parts = defaultdict[int, list[int]](list)
    for place in inner:
        parts[labels[place]].append(place)
    return list(parts.values())


def _repeated(graph: Any, parts: Iterable[Sequence[int]]) -> tuple[list[Instance], list[int]]:
    """Return instances of what is worth a module, and the operations of all other parts.

    Parts that stand as often as each other become one module together.
    """
    alike = defaultdict[Any, list[Instance]](list)
    several = list(parts)
    own = {i: number for number, part in enumerate(several) for i in part}
    read = {place for i, op in enumerate(graph.ops) for place in _operands(op) if own.get(place) != own.get(i)}
    put_out = read | set(graph.out_idxs)
    for part in several:
        instance = _instance(graph, part, put_out)
        alike[contents(instance.graph)].append(instance)
    as_often = defaultdict[int, list[list[Instance]]](list)
    for instances in alike.values():
        as_often[len(instances)].append(sorted(instances, key=lambda instance: instance.reads))
    chosen, others = list[Instance](), list[int]()
    for count, kinds in as_often.items():
        if (count - 1) * sum(len(instances[0].operations) for instances in kinds) >= _LEAST:
            beside = _beside([instances[0].graph for instances in kinds])
            chosen += [_together(beside, each) for each in zip(*kinds, strict=True)]
        else:
            others += itertools.chain.from_iterable(each.operations for instances in kinds for each in instances)
    return chosen, sorted(others)


def _instance(graph: Any, part: Sequence[int], put_out: Container[int]) -> Instance:
    """Return operations of a graph as a graph of their own, of which some are put out."""
    read = dict.fromkeys(place for i in part for place in _operands(graph.ops[i]))
    ports = [place for place in read if graph.ops[place].opcode == _PORT]
    order = [*ports, *[place for place in read if graph.ops[place].opcode == _CONSTANT], *part]
    places = {old: new for new, old in enumerate(order)}
    tables = list(dict.fromkeys(graph.ops[i].data for i in part if graph.ops[i].opcode == _TABLE))
    ops = [_moved(graph.ops[i], places, {table: number for number, table in enumerate(tables)}) for i in order]
    writes = tuple(place for place in part if place in put_out)
    whole = _graph(graph, ops, [places[i] for i in writes], [graph.lookup_tables[i] for i in tables])
    return Instance(graph=whole, reads=tuple(graph.ops[i].id0 for i in ports), operations=tuple(part), writes=writes)


def _moved(op: Any, places: Mapping[int, int], tables: Mapping[int, int]) -> Any:
    """Return an operation whose operands and table have other numbers."""
    if op.opcode in (_PORT, _CONSTANT):
        return op._replace(latency=0.0)
    data = op.data
    if op.opcode in _MUXES:
        data += places[data & _KEY] - (data & _KEY)
    elif op.opcode == _TABLE:
        data = tables[data]
    return op._replace(id0=places.get(op.id0, -1), id1=places.get(op.id1, -1), data=data, latency=0.0)


def _graph(like: Any, ops: Sequence[Any], outputs: Sequence[int], tables: Sequence[Any]) -> Any:
    """Return a graph of operations, its ports in the order in which they stand there."""
    number = itertools.count()
    numbered = [op._replace(id0=next(number)) if op.opcode == _PORT else op for op in ops]
    n_ports = next(number)
    return like._replace(
        shape=(n_ports, len(outputs)),
        inp_shifts=[0] * n_ports,
        out_idxs=list(outputs),
        out_shifts=[0] * len(outputs),
        out_negs=[False] * len(outputs),
        ops=numbered,
        lookup_tables=tuple(tables) or None,
    )


def _beside(graphs: Sequence[Any]) -> Any:
    """Return graphs as one, with the ports and outputs of one after those of the other."""
    ops, outputs, tables = list[Any](), list[int](), list[Any]()
    for graph in graphs:
        places = {place: place + len(ops) for place in range(len(graph.ops))}
        own = graph.lookup_tables or ()
        numbers = {number: number + len(tables) for number in range(len(own))}
        outputs += [places[place] for place in graph.out_idxs]
        ops += [_moved(op, places, numbers) for op in graph.ops]
        tables += own
    return _graph(graphs[0], ops, outputs, tables)


def _together(graph: Any, instances: Iterable[Instance]) -> Instance:
    several, keys = list(instances), ("reads", "operations", "writes")
    joined = {key: tuple(itertools.chain.from_iterable(getattr(each, key) for each in several)) for key in keys}
    return Instance(graph=graph, **joined)


def _rest(graph: Any, instances: Iterable[Instance]) -> Any:
    several = list(instances)
    given = [place for instance in several for place in instance.writes]
    taken = {place for instance in several for place in instance.operations}
    ports = [place for place, op in enumerate(graph.ops) if op.opcode == _PORT]
    ports.sort(key=lambda place: graph.ops[place].id0)
    own = [place for place, op in enumerate(graph.ops) if op.opcode != _PORT and place not in taken]
    places = {old: new for new, old in enumerate((*ports, *given, *own))}
    tables = {number: number for number in range(len(graph.lookup_tables or ()))}
    entering = [graph.ops[place]._replace(id0=-1, id1=-1, opcode=_PORT, data=0, cost=0.0) for place in (*ports, *given)]
    ops = [*entering, *(_moved(graph.ops[place], places, tables) for place in own)]
    whole = _graph(graph, ops, [places[place] for place in graph.out_idxs], graph.lookup_tables or ())
    return whole._replace(out_shifts=graph.out_shifts, out_negs=graph.out_negs)
