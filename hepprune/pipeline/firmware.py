"""What a run builds of a network by the route of its strategy: firmware, the proof that it agrees, its measurement."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

import hepprune
from hepprune import synthesis
from hepprune.files import content_hash, write_text
from hepprune.firmware import equivalence, rtl
from hepprune.firmware.routes import ROUTES, Built, Order
from hepprune.hardware import cost
from hepprune.hardware.resources import Measurement, Resources
from hepprune.network import Network, identity
from hepprune.pipeline import elsewhere, tools
from hepprune.pipeline.context import Context
from hepprune.pipeline.taggers import Samples
from hepprune.synthesis import ledger

T = TypeVar("T")


def routes(strategy: str) -> tuple[str, ...]:
    """Return the names of the routes that a strategy takes: what is measured comes by the first of them."""
    return ("rtl", "hls") if strategy == "distributed_arithmetic" else ("hls",)


def solve(context: Context, network: Network) -> rtl.Solved:
    """Return the exact adder-graph cost of a network."""
    return context.kept(rtl.Solved, "solved", identity(network), lambda: rtl.solve(network).solved)


def solved(context: Context, network: Network) -> Built:
    """Return a network with the exact adder-graph cost that it has, of which nothing is written yet."""
    return Built(network=network, solution=solve(context, network))


def lut(context: Context, built: Built) -> float:
    """Return the LUT that the network's own route costs it: exact, of its adder graph."""
    return (built.solution or solve(context, built.network)).lut


def build(context: Context, network: Network, jets: Samples) -> Built:
    """Write a network's firmware by the first route of the recipe's strategy, and prove that it is the network's."""
    return _by(routes(context.recipe.strategy)[0], context, Built(network=network), jets)


def deliver(context: Context, built: Built, jets: Samples) -> Built:
    """Return what was built with what else a run delivers: firmware and proof by every route of the strategy."""
    for name in routes(context.recipe.strategy):
        built = _by(name, context, built, jets)
    return built


def _by(name: str, context: Context, built: Built, jets: Samples) -> Built:
    """Return what was built with the firmware of a route and its proof on test jets, bit for bit; a mismatch raises."""
    route, wanted = ROUTES[name], context.recipe.checks
    if built.check(route.kind) is not None:
        return built
    with context.step(route.title):
        built = written(context, built, name)
        vectors = jets.test.first(wanted.rtl_vectors if name == "rtl" else wanted.csim_vectors).arrays
        key = [
            identity(built.network),
            jets.key,
            len(vectors),
            context.target.levels_per_cycle,
            context.recipe.strategy,
        ]
        check = context.kept(
            equivalence.Check, f"{route.kind}-check", key, lambda: route.prove(built, vectors, jets.test.task)
        )
    return replace(built, checks=(*built.checks, check))


def written(context: Context, built: Built, name: str) -> Built:
    """Return what was built with the firmware of a route, not yet proved; what is on disk already is described."""
    recipe, own = context.recipe, identity(built.network)
    folder = {"rtl": f"verilog/{own}", "hls": f"hls/{own}" if routes(recipe.strategy)[0] == "hls" else "hls"}[name]
    order = Order(name=recipe.name, target=context.target, strategy=recipe.strategy)
    return ROUTES[name].build(built, context.build.resolve() / folder, order, keep=_described)


def _described(kind: type[T], folder: Path, key: list[Any], write: Callable[[], T]) -> T:
    """Return what `folder` holds by the note in it, or write it anew where the note is missing or of something else."""
    note, adapter = folder / "hepprune.json", TypeAdapter(tuple[str, kind])  # type: ignore[valid-type]
    name = content_hash(hepprune.__version__, str(folder), key)
    if note.is_file():
        with contextlib.suppress(ValidationError):  # a note of another version is of something else
            known, kept = adapter.validate_json(note.read_bytes())
            if known == name:
                return kept
    described = write()
    write_text(note, adapter.dump_json((name, described), indent=2).decode())
    return described


def measure(context: Context, network: Network, *, jets: Samples, book: ledger.Ledger) -> Built:
    """Build a network, prove the build equal to it, and have it measured by synthesis; the ledger keeps the figures."""
    tool = tools.chosen(context.recipe)
    built = build(context, network, jets)
    key = _key(context, network, tool)
    known = book.measurement(key, stage=tool.stage)
    if known is not None:
        return replace(built, measurement=elsewhere.check(known, key) if tool.name == elsewhere.NAME else known)
    predicted = cost.estimate(network, context.target, strategy=context.recipe.strategy, stage=tool.stage)
    if tool.name == elsewhere.NAME:
        book.record_design(key, context.recipe.name)
        book.record_estimate(key, predicted)
        whole = written(context, built, "hls")
        folders = [part.folder for part in (whole.design, whole.project) if part is not None]
        raise elsewhere.awaited(key, tool.stage, context.build, folders)
    if tool.needs_hls:
        built = written(context, built, "hls")
    with context.step(f"synthesis ({tool.name})"):
        measured = tool.run(job(context, built))
    book.record(key, context.recipe.name, estimate=predicted, measurement=measured)
    return replace(built, measurement=measured)


def _key(context: Context, network: Network, tool: synthesis.Tool) -> str:
    target = context.target
    return ledger.design_key(
        identity(network),
        strategy=context.recipe.strategy,
        part=target.part_name,
        clock_ns=target.period_ns,
        tool=f"{tool.name} {tool.version()}",
        pipelining=target.levels_per_cycle,
    )


def job(context: Context, built: Built) -> synthesis.Job:
    """Return the job of an HLS project, whose top is another, where one was written, or else of the Verilog."""
    design, project = built.design, built.project
    parts = [part for part in (project, design) if part is not None]
    return synthesis.Job(
        folder=parts[-1].folder / "synthesis",
        top=parts[0].top,
        sources=design.sources if design else (),
        part=context.target.part_name,
        clock_ns=context.target.period_ns,
        latency_cycles=design.latency_cycles if design else 0,
        interval_cycles=design.interval_cycles if design else 0,
        hls_project=project.folder if project else None,
    )


def solved_as_measured(context: Context, network: Network) -> Built:
    """Return a network with its solved adder graph as figures of stage da4ml: exact, and without synthesis."""
    target, solved = context.target, solve(context, network)
    resources = Resources(lut=solved.lut, dsp=0.0, bram18=0.0)
    cycles = rtl.cycles(solved.depth, target.levels_per_cycle)
    figures = target.part_name, target.period_ns, resources, cycles, 1
    measured = Measurement("da4ml", "da4ml", version("da4ml"), *figures)
    return Built(network=network, solution=solved, measurement=measured)
