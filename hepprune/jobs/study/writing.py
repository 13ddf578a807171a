"""What a study leaves behind: a table as CSV, everything as JSON, and its plots."""

from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from hepprune.errors import ReportError
from hepprune.files import write_csv, write_json
from hepprune.jobs import estimation
from hepprune.report.plots import costs, curves
from hepprune.studies.points import Study, columns

_STACKED = 8  # points whose latency is drawn layer by layer


def write(study: Study, folder: Path) -> Study:
    """Write study.csv, study.json and the plots into a folder, and return the study with their paths."""
    table = write_csv(folder / "study.csv", columns(study), (point.row() for point in study))
    files = {"csv": str(table), **_plots(study, folder)}
    found = replace(study, files=files | {"json": str(folder / "study.json")})
    write_json(folder / "study.json", as_json(found))
    return found


def as_json(study: Study) -> dict[str, object]:
    """Return a study as JSON values: its points as rows, with the latency and cells of each layer of the front."""
    rows = [point.row() | {"name": point.setting.name, "failure": point.failure} for point in study]
    layers = {point.setting.name: [asdict(layer) for layer in point.estimate.layers] for point in study.front}
    own = {name: getattr(study, name) for name in ("target", "io_type", "metric", "n_jets", "illegal", "files")}
    own |= {"notes": list(study.notes), "awaited": list(study.awaited)}
    return own | {"points": rows, "front_layers": layers}


def _plots(study: Study, folder: Path) -> dict[str, str]:
    # what was measured, then the fastest of the front that fit
    fitting = [point for point in study.front if point.fits] or list(study.front)
    found = {point.setting.name: point for point in (*study.measured, *fitting)}
    stacked = sorted(list(found.values())[:_STACKED], key=lambda point: point.whole_ns)
    limit = study[0].budget.latency_ns
    whole = None if limit is None else limit + study[0].reserved_ns  # the same at every clock
    drawn = {
        "latency_against_lut": curves.latency_against_lut(
            study.to_arrays(), folder / "latency_against_lut", budget_ns=whole, budget_lut=study[0].budget.resources.lut
        ),
        "latency_by_layer": costs.latency_stack(
            {point.setting.name: point.estimate for point in stacked},
            folder / "latency_by_layer",
            budget_ns=whole,
            reserved_ns={point.setting.name: point.reserved_ns for point in stacked},
            measured_ns={
                point.setting.name: point.reserved_ns + point.measurement.latency_ns
                for point in stacked
                if point.measurement and point.measurement.latency_ns
            },
        ),
    }
    name = "predicted_against_measured"
    with suppress(ReportError):  # where no two designs of the ledger were both
        drawn[name] = list(estimation.from_ledger(folder / "ledger.sqlite", plot=folder / name).files)
    return {name: str(paths[0]) for name, paths in drawn.items() if paths}
