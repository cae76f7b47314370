"""The table's cells, and the memory that stands in them."""

from __future__ import annotations

import pytest

from analysis.factories import MIB, make_record, typical_lab
from common.analysis.comparing.facts import differences
from common.analysis.comparing.groups import build_groups
from common.analysis.comparing.peak_memory import memory_of
from common.analysis.page.table import columns
from common.analysis.reading.runs import summarise
from common.formats import number, percent


def table_of(*records):
    """{label: {anchor: cell}} of the only group."""
    (group,) = build_groups([summarise(f"{record.run_id}.json", record) for record in records])
    return {row.label: {column.anchor: column.cell(row) for column in columns(group)} for row in group.rows}


@pytest.mark.parametrize(
    ("value", "text"), [(0.0312, "0.031"), (3.14159, "3.14"), (39.12, "39.1"), (425.3, "425"), (1204.6, "1,205")]
)
def test_three_digits(value, text):
    assert number(value) == text


def test_percent():
    assert percent(0.714) == "71 %"
    assert percent(-0.09) == "−9 %"


def test_every_figure_has_its_interval_beside_it():
    cells = table_of(*typical_lab())["DDP × 2"]
    for anchor in ("epoch-time", "throughput", "speed-up", "scaling-efficiency"):
        low, high = (float(end) for end in cells[anchor].interval.split(" – "))
        factor = 100 if anchor == "scaling-efficiency" else 1
        assert low <= factor * cells[anchor].value <= high


def test_a_few_steps_say_why_there_is_no_interval():
    cell = table_of(make_record(steps=3, epochs=1))["One device"]["throughput"]
    assert cell.interval == "no interval: fewer than 4 steps"


def test_memory_on_cpu_is_per_process():
    table = table_of(*typical_lab())
    assert table["DP × 2"]["memory"].note == "all replicas in one"
    assert table["DDP × 2"]["memory"].text == "700 MiB / 700 MiB"
    assert table["DDP × 2"]["memory"].note == "1.37 GiB in all"


def test_memory_on_gpus_is_per_device_with_its_imbalance():
    table = table_of(*typical_lab(kind="cuda"))
    assert table["DP × 2"]["memory"].text == "1.76 GiB / 900 MiB"
    assert table["DP × 2"]["memory"].note == "imbalance 2.00"
    assert table["One device"]["memory"].text == "900 MiB"


def test_over_several_runs_the_highest_peak_counts():
    low, high = make_record(), make_record()
    high.devices[0].memory.peak_process_bytes = 900 * MIB
    assert table_of(high, low)["One device"]["memory"].value == 900 * MIB


def test_dataparallel_keeps_optimizer_state_on_device_0_alone():
    (group,) = build_groups([summarise("x", record) for record in typical_lab(kind="cuda")])
    first, second = memory_of(next(row for row in group.rows if row.method == "dp"))
    assert set(first.static) == {"parameters and buffers", "gradients", "optimizer state"}
    assert set(second.static) == {"parameters and buffers"}
    assert all("optimizer state" in peak.static for peak in memory_of(group.rows[-1]))


def test_a_gpu_that_replicas_share_is_listed_once():
    record = make_record("dp", 2, kind="cuda", world={"shared": True})
    record.devices[1].index = 0
    (group,) = build_groups([summarise("x", record)])
    assert len(memory_of(group.rows[0])) == 1


def test_very_many_values_are_counted_instead_of_listed():
    (text,) = differences((f"row {value}", {"epochs": str(value)}) for value in range(1000))
    assert text.endswith("and 995 more values")
    assert len(text) < 200
