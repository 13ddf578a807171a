"""The targets that are known by name, each with its source."""

from hepprune.hardware import devices
from hepprune.hardware.resources import Budget, Resources
from hepprune.hardware.targets.target import Target


def _share(part: str, fraction: float) -> Resources:
    return devices.find(part).share(fraction).common


_VU13P, _VU9P, _V7 = "xcvu13p-flga2577-2-e", "xcvu9p-flgb2104-2-i", "xc7vx690tffg1927-2"

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            name="cms_run3_ugt",
            part=_V7,
            clock_ns=25.0,
            clock_uncertainty=0.0,
            budget=Budget(latency_ns=50.0, interval_cycles=1),
            source="AXOL1TL build scripts; arXiv:2411.19506",
            confidence="published",
            note="the share of the chip is not published; at 25 ns the limit is combinational depth",
        ),
        Target(
            name="cms_run3_calo",
            part=_V7,
            clock_ns=6.25,
            clock_uncertainty=None,
            budget=Budget(latency_ns=14 * 6.25, interval_cycles=4),
            source="CICADA firmware; arXiv:2505.05532",
            confidence="published",
            note="14 cycles; the card is shared, the share is not published",
        ),
        Target(
            name="cms_run3_emtf",
            budget=Budget(latency_ns=83.0),
            source="arXiv:2509.21062",
            confidence="published",
            note="83 ns end to end on a Virtex-7; part and clock are not published",
        ),
        Target(
            name="cms_ph2_cl2",
            part=_VU13P,
            clock_ns=2.8,
            clock_uncertainty=None,
            budget=Budget(latency_ns=1000.0 - 72 * 2.8, resources=_share(_VU13P, 0.25)),
            device_share=0.25,
            reserved_cycles=72,
            source="TrainTagger baseline.yaml; arXiv:2509.24371",
            confidence="prototype",
            note="about 1 us in all, 72 of 167 cycles wrapper in one prototype; clock 2.5 or 2.8 ns; one of 4 SLRs; "
            "one event every 6 crossings, so the interval depends on how many jets share an engine",
        ),
        Target(
            name="atlas_l0_muon",
            clock_ns=3.125,
            budget=Budget(latency_ns=125.0, interval_cycles=8),
            source="arXiv:2201.06288",
            confidence="published",
            note="an UltraScale+ part that is not named",
        ),
        Target(
            name="atlas_gep",
            part=_VU9P,
            budget=Budget(latency_ns=1200.0, resources=_share(_VU9P, 0.05)),
            device_share=0.05,
            source="abstracts on machine learning in the ATLAS global event processor",
            confidence="prototype",
            note="the clock is not published",
        ),
        Target(
            name="generic_vu13p",
            part=_VU13P,
            clock_ns=5.0,
            clock_uncertainty=0.125,
            budget=Budget(latency_ns=100.0, interval_cycles=1, resources=_share(_VU13P, 0.1)),
            device_share=0.1,
            source="the limits most papers quote: under 100 ns, interval 1, at most 10 % of a VU13P",
            confidence="published",
        ),
    )
}
