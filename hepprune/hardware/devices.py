"""What each FPGA has, in all; a report's own Available row wins over this table."""

import re
from dataclasses import dataclass

from hepprune.errors import RecipeError, unknown
from hepprune.hardware.resources import Resources

_SOURCES = {
    "report": "AMD DS890 and DS891, as in the Available rows of public Vivado and Vitis reports",
    "table": "AMD product tables; no report seen yet",
    "user": "the target's own file",
}
# Families by the beginning of a part's name; the first that fits.
_FAMILIES = (
    (r"(x[caq])?[kv]u\d+p|(x[caq])?zu\d+|xcu\d+|xck2\d", "UltraScale+"),
    (r"(x[caq])?[kv]u\d+", "UltraScale"),
    (r"(x[caq])?7[akvsz]\w*\d+", "7-series"),
    (r"(x[caq])?v[cehmp]\d+", "Versal"),
)


@dataclass(frozen=True)
class Device:
    """One FPGA: counts of its cells, BRAM in 18 Kb halves, and its super logic regions.

    `confidence` is "report" where a synthesis report shows the same totals, "table" where none has been seen, "user"
    where the counts are the user's own, who may name the family too.
    """

    part: str
    lut: int
    ff: int
    dsp: int
    bram18: int
    uram: int
    slr: int
    confidence: str = "report"
    named_family: str | None = None

    @property
    def source(self) -> str:
        """Where the counts come from."""
        return _SOURCES[self.confidence]

    def share(self, fraction: float) -> Resources:
        """Return that fraction of every cell."""
        cells = (self.lut, self.ff, self.dsp, self.bram18, self.uram)
        return Resources(*(fraction * count for count in cells))


DEVICES: dict[str, Device] = {
    device.part: device
    for device in (
        Device("xcvu13p", 1_728_000, 3_456_000, 12_288, 5_376, 1_280, 4),
        Device("xcu250", 1_728_000, 3_456_000, 12_288, 5_376, 1_280, 4),
        Device("xcvu9p", 1_182_240, 2_364_480, 6_840, 4_320, 960, 3),
        Device("xcu200", 1_182_240, 2_364_480, 6_840, 4_320, 960, 3),
        Device("xczu9eg", 274_080, 548_160, 2_520, 1_824, 0, 1),
        Device("xc7z020", 53_200, 106_400, 220, 280, 0, 1),
        Device("xc7vx690t", 433_200, 866_400, 3_600, 2_940, 0, 1),
        Device("xcku115", 663_360, 1_326_720, 5_520, 4_320, 0, 2, "table"),
        Device("xczu7ev", 230_400, 460_800, 1_728, 624, 96, 1, "table"),
        Device("xcu50", 871_680, 1_743_360, 5_952, 2_688, 640, 2, "table"),
        Device("xcu280", 1_303_680, 2_607_360, 9_024, 4_032, 960, 3, "table"),
    )
}


def known(part: str) -> Device | None:
    """Return the device of a part name, with or without package, speed and grade, such as `xcvu13p-flga2577-2-e`.

    None where no known device starts that name.
    """
    name = part.strip().lower()
    for device in sorted(DEVICES.values(), key=lambda device: -len(device.part)):
        rest = name.removeprefix(device.part)
        if rest != name and not rest[:1].isdigit():
            return device
    return None


def find(part: str) -> Device:
    """Return the device of a part name.

    Raises:
        RecipeError: no known device starts that name.
    """
    if (device := known(part)) is None:
        raise RecipeError(
            f"{unknown('part', part, DEVICES)}, or say what it has in a YAML target: "
            "`device: {lut: ..., ff: ..., dsp: ..., bram18: ...}`"
        )
    return device


def family(part: str) -> str | None:
    """Return the family that a part's name tells, such as UltraScale+ of `xczu5eg-sfvc784-1-e`."""
    name = part.strip().lower()
    return next((family for pattern, family in _FAMILIES if re.match(pattern, name)), None)
