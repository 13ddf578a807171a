from dataclasses import replace
from pathlib import Path

import pytest

from hepprune.errors import RecipeError
from hepprune.hardware import targets
from hepprune.hardware.targets import TARGETS, levels_per_cycle, load


def test_five_levels_fit_five_nanoseconds() -> None:
    assert [levels_per_cycle(ns) for ns in (0.5, 2.5, 5.0, 6.25, 25.0)] == [1, 2, 5, 6, 25]


def test_a_level_takes_longer_on_parts_whose_adders_are_slower() -> None:
    assert [levels_per_cycle(25.0, family) for family in ("7-series", "UltraScale", "UltraScale+")] == [12, 17, 25]
    assert TARGETS["cms_run3_ugt"].levels_per_cycle == 12  # a Virtex-7
    assert TARGETS["generic_vu13p"].levels_per_cycle == 5
    assert TARGETS["atlas_l0_muon"].levels_per_cycle == 3  # of no known family


@pytest.mark.parametrize("name", TARGETS)
def test_every_preset_names_its_source_and_stays_on_its_chip(name: str) -> None:
    target = load(name)
    assert target.name == name
    assert target.source
    assert target.confidence in {"published", "prototype"}
    if target.part:
        whole = target.device.share(1.0).known()
        assert all(count <= whole[cell] for cell, count in target.budget.resources.known().items())
    if target.clock_ns:
        assert target.levels_per_cycle >= 1


def test_presets_say_what_the_sources_say() -> None:
    assert load("cms_run3_calo").budget.latency_ns == pytest.approx(87.5)
    assert load("cms_run3_ugt").budget.latency_ns == 2 * targets.BUNCH_CROSSING_NS
    assert load("generic_vu13p").budget.resources.lut == pytest.approx(172_800)


def test_what_is_unknown_is_refused_and_not_invented() -> None:
    with pytest.raises(RecipeError, match=r"cms_run3_emtf.*clock"):
        _ = load("cms_run3_emtf").period_ns
    with pytest.raises(RecipeError, match=r"atlas_l0_muon.*part"):
        _ = load("atlas_l0_muon").device


def _written(folder: Path, text: str) -> Path:
    path = folder / "target.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_target_of_ones_own_reserves_cycles_and_takes_a_share_of_one_slr(tmp_path: Path) -> None:
    text = """
name: my_card
part: xcvu13p-flga2577-2-e
clock_ns: 2.5
levels_per_cycle: 3
reserved_cycles: 40
budget: {latency_ns: 300, interval_cycles: 6, share: 0.5, share_of: slr, dsp: 0}
source: our own floor plan
"""
    target = load(_written(tmp_path, text))
    assert target.budget.latency_ns == pytest.approx(200)
    assert target.device_share == pytest.approx(1 / 8)
    assert target.budget.resources.lut == pytest.approx(1_728_000 / 8)
    assert target.budget.resources.dsp == 0
    assert target.levels_per_cycle == 3
    assert load(_written(tmp_path, text.replace("levels_per_cycle: 3\n", ""))).levels_per_cycle == 2


def test_several_models_divide_what_other_firmware_leaves_of_a_share(tmp_path: Path) -> None:
    text = "{name: a, part: xcvu9p, clock_ns: 5, budget: {share: 0.5, models: 3, taken: {lut: 91120, dsp: 420}}}"
    cells = load(_written(tmp_path, text)).budget.resources
    assert cells.lut == pytest.approx((1_182_240 / 2 - 91_120) / 3)
    assert cells.dsp == pytest.approx((6_840 / 2 - 420) / 3)


MINIMAL = "{name: a, part: xcvu9p, clock_ns: 5"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (MINIMAL + ", clock: 5}", "clock: unknown key; known here: name, part, clock_ns"),
        (MINIMAL + ", confidence: published}", "confidence: unknown key; known here: name, part, clock_ns"),
        (MINIMAL + ", budget: {luts: 5}}", "budget.luts: unknown key; known here: latency_ns"),
        ("{name: a, part: xcvu9p}", "clock_ns: missing"),
        ("{name: a, part: xcvu9p, clock_ns: -1}", "clock_ns: -1 should be greater than 0, in ns"),
        ("{name: a, part: xyz, clock_ns: 5, budget: {share: 0.1}}", "unknown part 'xyz'"),
        ("{name: a, part: 'x y', clock_ns: 5}", "part: 'x y' should"),
        ("{name: a, part: xcvu9p, clock_ns: .inf}", "clock_ns: inf should be a finite number, in ns"),
        (MINIMAL + ", levels_per_cycle: 1" + 400 * "0" + "}", "should be less than or equal to 1000000000"),
        (MINIMAL + ", device: {luts: 3}}", "device.luts: unknown key; known here: family, lut"),
        (MINIMAL + ", device: {lut: 3}}", "device.ff: missing"),
        (
            MINIMAL + ", device: {lut: 0, ff: 1, dsp: 1, bram18: 1}}",
            "device.lut: 0 should be greater than or equal to 1",
        ),
        (MINIMAL + ", reserved_cycles: 20, budget: {latency_ns: 100}}", "20 reserved cycles leave nothing of 100"),
        (MINIMAL + ", budget: {models: 2}}", "give budget.share"),
        ("{name: a, clock_ns: 5, budget: {share: 0.1}}", "budget.share is of a part; give part, too"),
        ("{name: a, clock_ns: 5, device: {lut: 9, ff: 9, dsp: 9, bram18: 9}}", "device is of a part; give part, too"),
        (MINIMAL + ", budget: {share: 0.1, taken: {dsp: 9999}}}", "budget.taken.dsp is more than its share"),
        ("{name: [", "is not YAML"),
        ("- 1", "holds no target"),
    ],
)
def test_a_broken_target_gets_one_clear_sentence(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(RecipeError, match=complaint.replace("[", r"\[")) as raised:
        load(_written(tmp_path, text))
    assert "\n" not in str(raised.value)


def test_an_unknown_name_lists_the_presets_and_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="unknown target 'generic_vu9p'; choose one of: generic_vu13p"):
        load("generic_vu9p")
    with pytest.raises(RecipeError, match="no target at"):
        load(tmp_path / "none.yaml")


def test_a_part_that_is_not_known_can_be_described_and_then_shared(tmp_path: Path) -> None:
    text = "{name: a, part: xc7z008sclg400-1, clock_ns: 5}"
    target = load(_written(tmp_path, text))
    assert (target.known_device, target.family, target.part_name) == (None, "7-series", "xc7z008sclg400-1")
    device = ", device: {lut: 14400, ff: 28800, dsp: 66, bram18: 100, slr: 2}, budget: {share: 0.5, share_of: slr}}"
    target = load(_written(tmp_path, text.replace("}", device)))
    assert target.budget.resources.known() == {"lut": 3600, "ff": 7200, "dsp": 16.5, "bram18": 25}
    assert target.device.source == "the target's own file"
    named = load(_written(tmp_path, text.replace("}", device.replace("device: {", "device: {family: Versal, "))))
    assert named.family == "Versal"


def test_a_users_own_counts_win_over_the_table(tmp_path: Path) -> None:
    text = MINIMAL + ", device: {lut: 1000, ff: 2000, dsp: 10, bram18: 10}, budget: {share: 0.1}}"
    assert load(_written(tmp_path, text)).budget.resources.lut == pytest.approx(100)


def test_a_target_at_another_clock_keeps_its_wrapper_and_its_levels_in_ns() -> None:
    place = TARGETS["cms_ph2_cl2"]
    assert place.at(2.8) is not None
    assert place.at(2.8).budget == place.budget
    slow = place.at(5.0)
    assert slow.budget.latency_ns == pytest.approx(1000 - 72 * 5)
    assert (slow.period_ns, slow.levels_per_cycle) == (5.0, 5)
    with pytest.raises(RecipeError, match="72 reserved cycles of 14 ns leave nothing of 1000 ns"):
        place.at(14.0)
    assert replace(place, levels=4).at(5.6).levels_per_cycle == 8
    assert replace(place, levels=4).at(0.5).levels_per_cycle == 1
    assert TARGETS["atlas_gep"].at(3.0).period_ns == 3.0  # its own is not known
