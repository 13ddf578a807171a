import csv
from importlib import resources

import pytest

from hepprune.errors import RecipeError
from hepprune.hardware import devices

ROWS = list(
    csv.DictReader(
        resources.files("hepprune.hardware").joinpath("devices.csv").read_text(encoding="utf-8").splitlines()
    )
)
# Vendors count a chip's size in cells of four inputs: so many to a LUT of six, or to an ALUT.
CELLS_PER_LUT = {"7-series": 1.6, "UltraScale": 2.1875, "UltraScale+": 2.1875, "Versal": 2.1875, "Agilex": 1.475}


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("xcvu13p-flga2577-2-e", "xcvu13p"),
        ("XCU250-FIGD2104-2L-E", "xcu250"),
        ("xc7vx690tffg1927-2", "xc7vx690t"),
        (" xcu50-fsvh2104-2-e ", "xcu50"),
        ("xc7z020clg400-1", "xc7z020"),
        ("xc7z007sclg400-1", "xc7z007s"),
        ("7z045ffg900-2", "xc7z045"),
        ("xczu7ev-ffvc1156-2-i", "xczu7ev"),
        ("xczu48dr-fsvg1517-2-e", "xczu48dr"),
        ("xc7a35ticsg324-1L", "xc7a35t"),
        ("xqku115-rld1517-2-i", "xcku115"),
        ("xazu5ev-sfvc784-1-i", "xczu5ev"),
        ("xcvc1902-vsva2197-2MP-e-S", "xcvc1902"),
        ("AGFB014R24B2E2V", "agf014"),
    ],
)
def test_a_full_part_name_finds_its_device(part: str, name: str) -> None:
    assert devices.find(part) is devices.DEVICES[name]


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("xcvu13p", (1_728_000, 3_456_000, 12_288, 5_376, 1_280, 4)),  # as in Available rows of public reports
        ("xcvu9p", (1_182_240, 2_364_480, 6_840, 4_320, 960, 3)),
        ("xczu9eg", (274_080, 548_160, 2_520, 1_824, 0, 1)),
        ("xczu3eg", (70_560, 141_120, 360, 432, 0, 1)),
        ("xc7a200t", (134_600, 269_200, 740, 730, 0, 1)),
        ("xc7z020", (53_200, 106_400, 220, 280, 0, 1)),
        ("xc7vx690t", (433_200, 866_400, 3_600, 2_940, 0, 1)),
        ("agf014", (974_400, 1_948_800, 4_510, None, 0, 1)),
    ],
)
def test_counts_are_those_of_reports(name: str, counts: tuple[int | None, ...]) -> None:
    found = devices.DEVICES[name]
    assert (found.lut, found.ff, found.dsp, found.bram18, found.uram, found.slr) == counts


def test_at_least_sixty_parts_of_three_families_are_known() -> None:
    families = [device.family for device in devices.DEVICES.values()]
    assert len(ROWS) == len(devices.DEVICES)
    assert {family: families.count(family) for family in families}.keys() == CELLS_PER_LUT.keys()
    assert sum(family not in devices.COUNTS_ONLY for family in families) >= 60


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["part"])
def test_every_row_agrees_with_itself_and_with_its_name(row: dict[str, str]) -> None:
    device = devices.find(row["part"])
    assert device.part == row["part"]
    assert device.ff == 2 * device.lut  # two registers a LUT, or four to the two ALUT of an ALM
    assert int(row["logic_cells"]) / device.lut == pytest.approx(CELLS_PER_LUT[row["family"]], rel=0.01)
    assert device.family == devices.family(row["part"])
    assert device.source
    assert device.share(0.5).lut == device.lut / 2


@pytest.mark.parametrize("part", ["xcvu13", "xcu2500", "xcvu131p", ""])
def test_an_unknown_part_is_refused_with_the_nearest_known_ones(part: str) -> None:
    with pytest.raises(
        RecipeError, match=rf"unknown part '{part}'; the nearest of \d+ are xc\w+, xc\w+, xc\w+, or say"
    ):
        devices.find(part)


def test_what_an_unknown_part_has_is_unknown_and_can_be_said() -> None:
    assert devices.known("xc7z008sclg400-1") is None
    with pytest.raises(RecipeError, match=r"xc7z007s, .*say what it has in a YAML target: `device: \{family"):
        devices.find("xc7z008sclg400-1")


@pytest.mark.parametrize(
    ("part", "family"),
    [
        ("xc7z008sclg400-1", "7-series"),
        ("xc7a100tcsg324-1", "7-series"),
        ("XC7K325T-FFG900-2", "7-series"),
        ("xcku040-ffva1156-2-e", "UltraScale"),
        ("xcvu095-ffva2104-2-e", "UltraScale"),
        ("xcau20p-ffvb676-2-e", "UltraScale+"),
        ("xcku5p-ffvb676-2-e", "UltraScale+"),
        ("xcku19p-ffvj1760-2-e", "UltraScale+"),
        ("xczu28dr-ffvg1517-2-e", "UltraScale+"),
        ("xazu5ev", "UltraScale+"),
        (" xcu55c-fsvh2892-2L-e ", "UltraScale+"),
        ("xcvc1902-vsva2197-2MP-e-S", "Versal"),
        ("agib027r29a1e2v", "Agilex"),
        ("10AX115N2F40E2LG", None),
        ("", None),
    ],
)
def test_a_parts_name_tells_its_family(part: str, family: str | None) -> None:
    assert devices.family(part) == family
