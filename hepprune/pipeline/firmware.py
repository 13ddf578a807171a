"""What a run builds of a network by the route of its strategy: firmware, the proof that it agrees, its measurement."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import hepprune
from hepprune import synthesis
from hepprune.errors import MeasurementAwaitedError
from hepprune.files import content_hash, stored
from hepprune.firmware import equivalence, rtl
from hepprune.firmware.routes import ROUTES, Built, Order
from hepprune.hardware import cost
from hepprune.hardware.resources import Measurement, Resources
from hepprune.hardware.targets import Target
from hepprune.network import Network, identity
from hepprune.pipeline import tools
from hepprune.pipeline.context import Context
from hepprune.pipeline.taggers import Samples
from hepprune.synthesis import elsewhere, ledger

T = TypeVar("T")


def solve(context: Context, network: Network) -> rtl.Solved:
    """Return the exact adder-graph cost of a network."""
    own, solver = identity(network), context.recipe.synthesis.solver
    key = [own, *other] if (other := rtl.other_solver(solver)) else own
    return context.store.value(rtl.Solved, "solved", key, lambda: rtl.solve(network, solver=solver).solved)


def solved(context: Context, network: Network) -> Built:
    """Return a network with the exact adder-graph cost that it has, of which nothing is written yet."""
    return Built(network=network, solution=solve(context, network))


def build(context: Context, network: Network, jets: Samples) -> Built:
    """Write a network's firmware by the first route of the recipe's strategy, and prove that it is the network's."""
    return _by(tools.routes(context.recipe)[0], context, Built(network=network), jets)


def deliver(context: Context, built: Built, jets: Samples) -> Built:
    """Return what was built with what else a run delivers: firmware and proof by every route that takes the tagger."""
    for name in tools.routes(context.recipe):
        if name != "hls" or not context.no_hls:
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
        recipe = context.recipe
        key = [identity(built.network), jets.key, len(vectors), recipe.name, context.place, recipe.strategy]
        key += rtl.other_solver(recipe.synthesis.solver)
        prove = partial(route.prove, built, vectors, jets.test.task)
        check = context.store.value(equivalence.Check, f"{route.kind}-check", key, prove)
    return replace(built, checks=(*built.checks, check))


def written(context: Context, built: Built, name: str) -> Built:
    """Return what was built with the firmware of a route, not yet proved; what is on disk already is described."""
    recipe, own = context.recipe, identity(built.network)
    folder = {"rtl": f"verilog/{own}", "hls": f"hls/{own}" if not tools.is_rtl(recipe) else "hls"}[name]
    solver = recipe.synthesis.solver
    order = Order(name=recipe.name, target=context.target, strategy=recipe.strategy, solver=solver)
    return ROUTES[name].build(built, context.build.resolve() / folder, order, keep=described)


def described(kind: type[T], folder: Path, key: list[Any], write: Callable[[], T]) -> T:
    """Return what `folder` holds by the note in it, or write it anew where the note is missing or of something else."""
    note, name = folder / "hepprune.json", content_hash(hepprune.__version__, str(folder), key)
    return stored.noted(kind, note, name) or stored.note(kind, note, name, write())


def measure(context: Context, network: Network, *, jets: Samples, book: ledger.Ledger) -> Built:
    """Build a network, prove the build equal to it, and have it measured by synthesis; the ledger keeps the figures.

    What another machine is to measure comes back without figures until they are in the ledger.
    """
    tool = _tool(context)
    built = build(context, network, jets)
    key = own_key(context, network, tool)
    known = book.measurement(key, stage=tool.stage)
    if known is not None:
        return replace(built, measurement=elsewhere.check(known, key) if tool.name == elsewhere.NAME else known)
    predicted = cost.estimate(network, context.target, strategy=context.recipe.strategy, stage=tool.stage)
    if tool.name == elsewhere.NAME:
        book.record(key, predicted, description=context.recipe.name)
        return built
    if tool.needs_hls:
        built = written(context, built, "hls")
    with context.step(f"synthesis ({tool.name})"):
        measured = tool.run(job(context, built))
    book.record(key, predicted, measured, description=context.recipe.name)
    return replace(built, measurement=measured)


def _tool(context: Context) -> synthesis.Tool:
    """Return the tool that measures, one that reads Verilog where there is nothing else."""
    return tools.chosen(context.recipe, hls=False if context.no_hls else None)


def awaited(context: Context, built: Built) -> MeasurementAwaitedError:
    """Return the error that says what of a design to synthesise on another machine, and how to go on after it."""
    tool = _tool(context)
    folders = [part.folder for part in (built.design, built.project) if part is not None]
    key = own_key(context, built.network, tool)
    return elsewhere.awaited(key, tool.stage, context.build, folders)


def own_key(context: Context, network: Network, tool: synthesis.Tool) -> str:
    """Return the key in a ledger of a network of this run."""
    recipe = context.recipe
    return design_key(network, context.target, recipe.strategy, tool, solver=recipe.synthesis.solver)


def design_key(network: Network, target: Target, strategy: str, tool: synthesis.Tool, *, solver: str = "da4ml") -> str:
    """Return the key in a ledger of a network built for a target by a strategy and measured by a tool.

    What HLS schedules follows the clock uncertainty, which only targets that name one have in their keys.
    """
    named = ", ".join([f"{tool.name} {tool.version()}", *rtl.other_solver(solver)])
    if target.clock_uncertainty is not None and (tool.needs_hls or strategy != "distributed_arithmetic"):
        named += f", clock uncertainty {target.clock_uncertainty:g}"
    return ledger.design_key(
        identity(network),
        strategy=strategy,
        part=target.part_name,
        clock_ns=target.period_ns,
        tool=named,
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
    target, solved, solver = context.target, solve(context, network), context.recipe.synthesis.solver
    measured = Measurement(
        stage="da4ml",
        tool=solver,
        version=version(solver),
        part=target.part_name,
        clock_ns=target.period_ns,
        resources=Resources(lut=solved.lut, dsp=0.0, bram18=0.0),
        latency_cycles=rtl.cycles(solved.depth, target.levels_per_cycle),
        interval_cycles=1,
    )
    return Built(network=network, solution=solved, measurement=measured)
