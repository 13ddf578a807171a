import torch

from hepprune.fixed import FixedPoint
from hepprune.hardware import checks
from hepprune.hardware.cost.describing import Options, described
from hepprune.hardware.cost.timing import Clock
from hepprune.hardware.resources import Budget, Resources
from hepprune.network import Conv, Dense, Input, Layer, Network, Softmax

KIND, WIDE = FixedPoint(8, 2), FixedPoint(16, 6)
NO_LIMIT = Budget()


def _typed(name: str, weight: torch.Tensor) -> Dense:
    return Dense(name, weight, torch.zeros(len(weight)), weight_type=KIND, bias_type=WIDE, result=WIDE)


def _found(layers: list[Layer], budget: Budget = NO_LIMIT, **options: object) -> dict[str, str]:
    operations = described(Network(layers), Options(**options))  # type: ignore[arg-type]
    return {warning.kind: warning.message for warning in checks.warnings(operations, budget, clock=Clock(3.65))}


def test_a_sound_layer_raises_no_caution() -> None:
    assert _found([Input("x", 16, WIDE), _typed("fc", torch.ones(8, 16))], strategy="latency") == {}


def test_an_illegal_reuse_factor_names_the_nearest_legal_ones() -> None:
    found = _found([Input("x", 16, WIDE), _typed("fc", torch.ones(64, 16))], strategy="resource", reuse_factor=7)
    assert list(found) == ["reuse_factor"]
    assert "nearest legal ones for 16 x 64 are 4 and 8" in found["reuse_factor"]


def test_too_many_products_at_once_name_the_smallest_fix() -> None:
    layers = [Input("x", 64, WIDE), _typed("fc", torch.ones(128, 64))]
    assert "strategy resource with reuse factor 4" in _found(layers, strategy="latency")["unroll_limit"]
    assert "fix is reuse factor 4" in _found(layers, strategy="resource", reuse_factor=2)["unroll_limit"]
    assert "unroll_limit" not in _found(layers, strategy="resource", reuse_factor=4)


def test_positions_that_wait_name_the_parallelization_factor_that_meets_the_interval() -> None:
    conv = Conv("conv", torch.ones(4, 1, 3), torch.zeros(4), weight_type=KIND, bias_type=WIDE, result=WIDE)
    layers: list[Layer] = [Input("x", (16, 3), WIDE), conv]
    assert "set parallelization_factor to 16" in _found(layers, strategy="latency")["interval"]
    assert (
        "set parallelization_factor to 4" in _found(layers, Budget(interval_cycles=4), strategy="latency")["interval"]
    )
    fixed = [layers[0], conv.rebuilt(parallelization_factor=4)]
    assert "interval" not in _found(fixed, Budget(interval_cycles=4), strategy="latency")
    assert (
        "only io_parallel"
        in _found(layers, Budget(interval_cycles=4), strategy="resource", reuse_factor=3, io_type="io_stream")[
            "interval"
        ]
    )


def test_zeros_that_buy_nothing_are_named_and_whole_rows_are_not() -> None:
    weight = torch.ones(8, 16)
    weight[:, ::2] = 0
    layers = [Input("x", 16, WIDE), _typed("fc", weight)]
    assert "50% zeros that buy nothing under resource" in _found(layers, strategy="resource", reuse_factor=4)["zeros"]
    assert "hardly lower" in _found(layers, strategy="latency", reuse_factor=2)["zeros"]
    assert "zeros" not in _found(layers, strategy="latency")
    rows = torch.ones(8, 16)
    rows[:4] = 0
    assert "zeros" not in _found([Input("x", 16, WIDE), _typed("fc", rows)], strategy="resource", reuse_factor=4)


def test_a_softmax_its_tables_and_missing_types_are_named() -> None:
    layers: list[Layer] = [Input("x", 4, WIDE), Dense("fc", torch.ones(3, 4), torch.zeros(3)), Softmax("soft")]
    found = _found(layers, Budget(resources=Resources(bram18=1)), strategy="latency")
    assert "the budget holds 1" in found["tables"]
    assert "'fc'" in found["types"]
    assert "4 cycles" in _found(layers, strategy="latency")["tables"]
    slow = checks.warnings(described(Network(layers), Options("latency")), Budget(), clock=Clock(2.9, "7-series"))
    assert "13 cycles" in next(warning.message for warning in slow if warning.kind == "tables")


def test_more_values_at_once_than_hls_unrolls_are_named_once() -> None:
    conv = Conv("conv", torch.ones(8, 1, 1, 1), torch.zeros(8), weight_type=KIND, bias_type=WIDE, result=WIDE)
    layers: list[Layer] = [Input("x", (32, 32, 1), WIDE), conv]
    assert "up to 8192 values at once in 'conv'" in _found(layers, strategy="latency")["unroll_limit"]
    assert "unroll_limit" not in _found(layers, strategy="latency", io_type="io_stream")


def test_a_strategy_that_shares_nothing_and_an_illegal_parallelism_are_named() -> None:
    conv = Conv("conv", torch.ones(4, 1, 3), torch.zeros(4), weight_type=KIND, bias_type=WIDE, parallelization_factor=5)
    layers: list[Layer] = [Input("x", (16, 3), WIDE), conv]
    assert "parallelization factors are 4 and 8" in _found(layers, strategy="latency")["parallelism"]
    assert "unrolled as under latency" in _found(layers, strategy="resource")["unshared"]


def test_an_adder_graph_uses_every_zero_and_unrolls_no_loop() -> None:
    weight = torch.ones(128, 64)
    weight[:, ::2] = 0
    assert _found([Input("x", 64, WIDE), _typed("fc", weight)], strategy="distributed_arithmetic") == {}
