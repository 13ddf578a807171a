"""What each FPGA has, in all, from `devices.csv`; a report's own Available row wins over this table."""

import csv
import re
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources

from hepprune.errors import RecipeError
from hepprune.hardware.resources import RESOURCES, Resources

COUNTS_ONLY = ("Versal", "Agilex")  # families of which nothing is synthesised or priced as their own
OWN = "the target's own file"
_SOURCES = {
    "DS180": "AMD DS180, 7 Series FPGAs",
    "DS190": "AMD DS190, Zynq-7000 SoC",
    "DS889": "AMD DS889, Zynq UltraScale+ RFSoC",
    "DS890": "AMD DS890, UltraScale Architecture and Product",
    "DS891": "AMD DS891, Zynq UltraScale+ MPSoC",
    "DS950": "AMD DS950, Versal Architecture and Product",
    "DS987": "AMD DS987, Kria K26 SOM",
    "Alveo": "AMD Alveo data sheets; the whole chip, of which a shell takes its part",
    "Agilex 7": "Altera Agilex 7 product table; two ALUTs of an ALM count as two LUT, and its M20K are not BRAM18",
}
# Families by the beginning of a part's name; the first that fits.
_FAMILIES = (
    (r"xc[akv]u\d+p|xczu\d+|xcu\d+|xck2\d", "UltraScale+"),
    (r"xc[kv]u\d+", "UltraScale"),
    (r"xc7[akvsz]\w*\d+", "7-series"),
    (r"xcv[cehmp]\d+", "Versal"),
    (r"ag[fim]\d+", "Agilex"),
)
# Grades share their silicon: commercial, automotive and defence; and Agilex parts with and without cores and ciphers.
_GRADES = ((r"^(x[caq])?(?=7[akvsz]|[akv]u\d|zu\d|v[cehmp]\d)", "xc"), (r"^(ag[fim])[a-d]?(?=\d)", r"\1"))


@dataclass(frozen=True, kw_only=True)
class Device:
    """One FPGA: counts of its cells, BRAM in 18 Kb halves (None where it has no such blocks), and its SLRs.

    `source` says where the counts are from; `family` is None where neither the user nor the part's name tells it.
    """

    part: str
    family: str | None
    lut: int
    ff: int
    dsp: int
    bram18: int | None
    uram: int = 0
    slr: int = 1
    source: str = OWN

    def share(self, fraction: float) -> Resources:
        """Return that fraction of every cell."""
        counts = {name: getattr(self, name) for name in RESOURCES}
        return Resources(**{name: fraction * count for name, count in counts.items() if count is not None})


def _shipped() -> dict[str, Device]:
    """Return the table of the package; `logic_cells`, the vendors' own measure of size, is there to check it by."""
    text = resources.files(__package__).joinpath("devices.csv").read_text(encoding="utf-8")
    found = {}
    for row in csv.DictReader(text.splitlines()):
        counts = {name: int(row[name]) if row[name] else None for name in (*RESOURCES, "slr")}
        source = _SOURCES[row["source"]]
        found[row["part"]] = Device(part=row["part"], family=row["family"], source=source, **counts)  # type: ignore[arg-type]
    return found


DEVICES: dict[str, Device] = _shipped()
_LONGEST_FIRST = sorted(DEVICES, key=len, reverse=True)


def known(part: str) -> Device | None:
    """Return the device of a part name, with or without package, speed and grade, such as `xcvu13p-flga2577-2-e`.

    None where no known device starts that name.
    """
    name = _plain(part)
    for device in _LONGEST_FIRST:
        rest = name.removeprefix(device)
        if rest != name and not rest[:1].isdigit():
            return DEVICES[device]
    return None


def find(part: str) -> Device:
    """Return the device of a part name.

    Raises:
        RecipeError: no known device starts that name.
    """
    if (device := known(part)) is None:
        near = get_close_matches(_plain(part).partition("-")[0], DEVICES, n=3, cutoff=0.0)
        raise RecipeError(
            f"unknown part '{part}'; the nearest of {len(DEVICES)} are {', '.join(near)}, or say what it has in a YAML "
            "target: `device: {family: ..., lut: ..., ff: ..., dsp: ..., bram18: ...}`"
        )
    return device


def family(part: str) -> str | None:
    """Return the family that a part's name tells, such as UltraScale+ of `xczu5eg-sfvc784-1-e`."""
    name = _plain(part)
    return next((family for pattern, family in _FAMILIES if re.match(pattern, name)), None)


def _plain(part: str) -> str:
    """Return a part's name in small letters, without what grades differ in."""
    name = part.strip().lower()
    for pattern, plain in _GRADES:
        name = re.sub(pattern, plain, name)
    return name
