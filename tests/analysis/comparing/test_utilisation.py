"""MFU, the measured rates that it is compared with, and the predicted exchange."""

from __future__ import annotations

import math

import pytest

from analysis.factories import make_record
from analysis.profile_factories import make_probes
from analysis.views import WORDS, folder_of, rows_of
from common.analysis.comparing.utilisation import (
    all_reduce_seconds,
    attainable_rate,
    exchange_seconds,
    matmul_rate,
    mfu_of,
)
from common.analysis.statistics.estimates import Estimate
from common.records import AllReduceTime


def row_of(method="ddp", devices=2, probes=(), **changes):
    return next(iter(rows_of(make_record(method, devices, **changes), probes=probes).values()))


def test_mfu_by_hand():
    """Each of 1,000 samples/s takes 20 MFLOP, on devices of 100 GFLOP/s: 20 % of one, 10 % of two."""
    for devices, share in ((1, 0.2), (2, 0.1)):
        row = row_of("single" if devices == 1 else "ddp", devices, [make_probes()], flops_per_sample=20 * 10**6)
        row.seconds_per_sample = Estimate(1 / 1000)
        assert mfu_of(row).value == pytest.approx(share)


def test_mfu_of_a_row_has_the_throughputs_interval():
    record = make_record("ddp", 2, flops_per_sample=10**9)
    (row,) = rows_of(record, probes=[make_probes()]).values()
    share = mfu_of(row)
    assert share.value == pytest.approx(record.throughput * 1e9 / (2 * 100e9))
    assert share.relative_error == row.throughput.relative_error


@pytest.mark.parametrize(
    ("changes", "probes", "reason"),
    [
        ({"flops_per_sample": None}, make_probes(), "not counted"),
        ({"flops_per_sample": 0}, make_probes(), "not counted"),
        ({}, make_probes("Another CPU"), "no ieee-fp32 matmul rate of Example CPU"),
        ({"config": {"precision": "tf32"}}, make_probes(), "no tf32 matmul rate"),
        ({"devices": 4}, make_probes(), "shared"),
    ],
)
def test_a_missing_part_is_named_and_nothing_else_stands_in(changes, probes, reason):
    missing = mfu_of(row_of(probes=[probes], **{"flops_per_sample": 10**9} | changes))
    assert reason in WORDS.text(missing)


def test_each_precision_has_its_own_rate_and_the_newest_counts():
    newest_last = [make_probes(bf16=1e9), make_probes(bf16=300e9), make_probes("Another CPU", bf16=7e9)]
    rates = folder_of(probes=newest_last).probed
    assert matmul_rate(rates, "Example CPU", "bf16") == pytest.approx(300e9)
    assert matmul_rate(rates, "Example CPU", "ieee-fp32") == pytest.approx(100e9)
    assert matmul_rate(rates, "Example CPU", "fp16") is None


TIMES = [
    AllReduceTime(bytes=size, ranks=2, seconds=seconds)
    for size, seconds in ((1000, 1e-3), (4000, 2e-3), (64000, 32e-3))
]


def test_interpolation_is_straight_in_logarithms():
    assert all_reduce_seconds(TIMES, 1000) == pytest.approx(1e-3)
    assert all_reduce_seconds(TIMES, 4000) == pytest.approx(2e-3)
    assert all_reduce_seconds(TIMES, 2000) == pytest.approx(1e-3 * math.sqrt(2))
    assert all_reduce_seconds(TIMES, 16000) == pytest.approx(8e-3)
    assert all_reduce_seconds(reversed(TIMES), 16000) == pytest.approx(8e-3)


def test_nothing_is_extrapolated():
    assert all_reduce_seconds(TIMES, 999) is None
    assert all_reduce_seconds(TIMES, 64001) is None
    assert all_reduce_seconds([], 1000) is None


def test_a_wrong_sum_has_no_speed():
    wrong = [*TIMES[:2], AllReduceTime(bytes=64000, ranks=2, seconds=None)]
    assert all_reduce_seconds(wrong, 16000) is None
    assert all_reduce_seconds(wrong, 4000) == pytest.approx(2e-3)


def test_an_exchange_is_predicted_message_by_message():
    row = row_of(probes=[make_probes()])
    assert exchange_seconds(row, [40_000_000]) == pytest.approx(0.040)
    assert exchange_seconds(row, [10_000_000, 30_000_000]) == pytest.approx(0.040)


@pytest.mark.parametrize(
    ("changes", "probes", "messages", "reason"),
    [
        ({}, [], [10**7], "no all-reduce of 2 gloo ranks"),
        ({}, [make_probes(ranks=4)], [10**7], "no all-reduce of 2 gloo ranks"),
        ({}, [make_probes(backend="nccl")], [10**7], "no all-reduce of 2 gloo ranks"),
        ({}, [make_probes("Another CPU")], [10**7], "no all-reduce"),
        ({"world": {"nodes": 2}}, [make_probes()], [10**7], "within one host"),
        ({}, [make_probes()], [10**9], "outside the measured 1.00 MB to 100 MB"),
        ({}, [make_probes()], [10**7, 10**9], "outside"),
        ({"devices": 1}, [make_probes()], [10**7], "one process"),
    ],
)
def test_a_prediction_that_cannot_be_made_says_why(changes, probes, messages, reason):
    missing = exchange_seconds(row_of(probes=probes, **changes), messages)
    assert reason in WORDS.text(missing)


def in_tf32(model="resnet18", **by_kind):
    """A row under TF32 with 10⁹ operations, and probes of 200 GFLOP/s in TF32 and 100 in fp32."""
    probes = make_probes()
    twice = {"precision": "tf32", "seconds": probes.matmul[0].seconds / 2}
    probes.matmul.append(probes.matmul[0].model_copy(update=twice))
    config = {"precision": "tf32", "model": model}
    return row_of(probes=[probes], flops_per_sample=10**9, flops_by_kind=by_kind or None, config=config)


@pytest.mark.parametrize(
    ("by_kind", "rate"),
    [
        ({}, 200e9),
        ({"convolution": 10**9, "matmul": 0}, 200e9),
        ({"convolution": 0, "matmul": 10**9}, 100e9),
        ({"convolution": 5 * 10**8, "matmul": 5 * 10**8}, 1e9 / (0.5e9 / 200e9 + 0.5e9 / 100e9)),
    ],
)
def test_each_kind_of_work_counts_at_the_rate_that_it_ran_at(by_kind, rate):
    """torch leaves matrix products in IEEE fp32 where convolutions run in TF32."""
    row = in_tf32(**by_kind)
    assert attainable_rate(row) == pytest.approx(rate)
    assert mfu_of(row).value == pytest.approx(row.throughput.value * 1e9 / (2 * rate))


@pytest.mark.parametrize("model", ["vit_b_16", "swin_t", "maxvit_t"])
def test_a_transformer_under_tf32_needs_its_operations_apart(model):
    assert "does not count them apart" in WORDS.text(mfu_of(in_tf32(model)))
    assert mfu_of(in_tf32(model, convolution=10**8, matmul=9 * 10**8)).value > 0
    in_fp32 = row_of(probes=[make_probes()], flops_per_sample=10**9, config={"model": model})
    assert mfu_of(in_fp32).value > 0
