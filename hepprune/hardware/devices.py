"""What each FPGA has, in all; a report's own Available row wins over this table."""

import re
from dataclasses import dataclass

from hepprune.errors import RecipeError, unknown
from hepprune.hardware.resources import RESOURCES, Resources

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


@dataclass(frozen=True, kw_only=True)
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
        return Resources(**{name: fraction * getattr(self, name) for name in RESOURCES})


DEVICES: dict[str, Device] = {
    device.part: device
    for device in (
        Device(part="xcvu13p", lut=1_728_000, ff=3_456_000, dsp=12_288, bram18=5_376, uram=1_280, slr=4),
        Device(part="xcu250", lut=1_728_000, ff=3_456_000, dsp=12_288, bram18=5_376, uram=1_280, slr=4),
        Device(part="xcvu9p", lut=1_182_240, ff=2_364_480, dsp=6_840, bram18=4_320, uram=960, slr=3),
        Device(part="xcu200", lut=1_182_240, ff=2_364_480, dsp=6_840, bram18=4_320, uram=960, slr=3),
        Device(part="xczu9eg", lut=274_080, ff=548_160, dsp=2_520, bram18=1_824, uram=0, slr=1),
        Device(part="xc7z020", lut=53_200, ff=106_400, dsp=220, bram18=280, uram=0, slr=1),
        Device(part="xc7vx690t", lut=433_200, ff=866_400, dsp=3_600, bram18=2_940, uram=0, slr=1),
        Device(part="xcku115", lut=663_360, ff=1_326_720, dsp=5_520, bram18=4_320, uram=0, slr=2, confidence="table"),
        Device(part="xczu7ev", lut=230_400, ff=460_800, dsp=1_728, bram18=624, uram=96, slr=1, confidence="table"),
        Device(part="xcu50", lut=871_680, ff=1_743_360, dsp=5_952, bram18=2_688, uram=640, slr=2, confidence="table"),
        Device(
            part="xcu280", lut=1_303_680, ff=2_607_360, dsp=9_024, bram18=4_032, uram=960, slr=3, confidence="table"
        ),
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
