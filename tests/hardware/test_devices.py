import pytest

from hepprune.errors import RecipeError
from hepprune.hardware import devices


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("xcvu13p-flga2577-2-e", "xcvu13p"),
        ("XCU250-FIGD2104-2L-E", "xcu250"),
        ("xc7vx690tffg1927-2", "xc7vx690t"),
        (" xcu50-fsvh2104-2-e ", "xcu50"),
        ("xc7z020clg400-1", "xc7z020"),
    ],
)
def test_a_full_part_name_finds_its_device(part: str, name: str) -> None:
    assert devices.find(part) is devices.DEVICES[name]


@pytest.mark.parametrize("name", devices.DEVICES)
def test_every_device_finds_itself_and_has_more_of_everything_than_a_small_one(name: str) -> None:
    device = devices.find(name)
    assert device.part == name
    assert device.source
    assert device.ff == 2 * device.lut  # two flip-flops per LUT in every series-7 and UltraScale slice
    assert device.share(0.5).lut == device.lut / 2


@pytest.mark.parametrize("part", ["xcvu13", "xcu2500", "xcvu31p", ""])
def test_an_unknown_part_is_refused_with_the_known_ones(part: str) -> None:
    with pytest.raises(RecipeError, match=f"unknown part '{part}'.*xcvu13p"):
        devices.find(part)


def test_what_an_unknown_part_has_is_unknown_and_can_be_said() -> None:
    assert devices.known("xc7z007sclg400-1") is None
    with pytest.raises(RecipeError, match=r"say what it has in a YAML target: `device: \{lut"):
        devices.find("xc7z007sclg400-1")


@pytest.mark.parametrize(
    ("part", "family"),
    [
        ("xc7z007sclg400-1", "7-series"),
        ("xc7a100tcsg324-1", "7-series"),
        ("XC7K325T-FFG900-2", "7-series"),
        ("xcku040-ffva1156-2-e", "UltraScale"),
        ("xcvu095-ffva2104-2-e", "UltraScale"),
        ("xcku5p-ffvb676-2-e", "UltraScale+"),
        ("xcvu31p", "UltraScale+"),
        ("xczu28dr-ffvg1517-2-e", "UltraScale+"),
        ("xazu5ev", "UltraScale+"),
        (" xcu55c-fsvh2892-2L-e ", "UltraScale+"),
        ("xcvc1902-vsva2197-2MP-e-S", "Versal"),
        ("10AX115N2F40E2LG", None),
        ("", None),
    ],
)
def test_a_parts_name_tells_its_family(part: str, family: str | None) -> None:
    assert devices.family(part) == family
