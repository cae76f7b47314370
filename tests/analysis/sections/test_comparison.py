"""The table's cells, and the memory that stands in them."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.factories import MIB, in_rounds, make_record, typical_lab
from analysis.views import WORDS, folder_of, groups_of, rows_of, said
from common.analysis.sections.comparison import group_table
from common.analysis.sections.other_sections import unequal_terms
from common.analysis.sections.report import build_report


@dataclass
class Shown:
    """A cell as the reader sees it."""

    text: str
    interval: str
    notes: list[str]
    value: float | None


def table_of(*records):
    """{label: {anchor: cell}} of the only group."""
    (group,) = groups_of(*records)
    table = group_table(group)
    return {
        WORDS.text(line.name): {
            column.anchor: Shown(WORDS.cell(cell), WORDS.interval(cell), said(cell.notes), cell.number)
            for column, cell in zip(table.columns, line.cells, strict=True)
        }
        for line in table.lines
    }


def test_every_figure_has_its_interval_beside_it():
    cells = table_of(*in_rounds(*typical_lab()))["DDP × 2"]
    for anchor in ("epoch-time", "throughput", "speed-up", "scaling-efficiency"):
        low, high = (float(end) for end in cells[anchor].interval.split("–"))
        factor = 100 if anchor == "scaling-efficiency" else 1
        assert low <= round(factor * cells[anchor].value, 2) <= high


def test_a_few_steps_say_why_there_is_no_interval():
    cell = table_of(make_record(steps=3, epochs=1))["One device"]["throughput"]
    assert cell.notes == ["no interval: fewer than 4 steps"]


def test_fewer_than_three_runs_say_why_their_ratio_has_no_interval():
    cells = table_of(*in_rounds(*typical_lab(), rounds=2))["DDP × 2"]
    assert cells["speed-up"].notes == cells["scaling-efficiency"].notes == ["fewer than\n3 runs"]
    assert cells["throughput"].interval  # of the runs themselves


def test_memory_on_cpu_is_per_process():
    table = table_of(*typical_lab())
    assert table["DP × 2"]["memory"].notes == ["all replicas in one"]
    assert table["DDP × 2"]["memory"].text == "700 MiB / 700 MiB"
    assert table["DDP × 2"]["memory"].notes == ["1.37 GiB in all"]


def test_memory_on_gpus_is_per_device_with_its_imbalance():
    table = table_of(*typical_lab(kind="cuda"))
    assert table["DP × 2"]["memory"].text == "1.76 GiB / 900 MiB"
    assert table["DP × 2"]["memory"].notes == ["imbalance 2.00"]
    assert table["One device"]["memory"].text == "900 MiB"


def test_over_several_runs_the_highest_peak_counts():
    low, high = make_record(), make_record()
    high.devices[0].memory.peak_process_bytes = 900 * MIB
    assert table_of(high, low)["One device"]["memory"].value == 900 * MIB


def test_dataparallel_keeps_optimizer_state_on_device_0_alone():
    rows = rows_of(*typical_lab(kind="cuda"))
    first, second = rows["DP × 2"].memory
    assert set(first.static) == {"parameters_and_buffers", "gradients", "optimizer_state"}
    assert set(second.static) == {"parameters_and_buffers"}
    assert all("optimizer_state" in peak.static for peak in rows["DDP × 2"].memory)


def test_a_gpu_that_replicas_share_is_listed_once():
    record = make_record("dp", 2, kind="cuda", world={"shared": True})
    record.devices[1].index = 0
    (row,) = rows_of(record).values()
    assert len(row.memory) == 1


def test_very_many_values_are_counted_instead_of_listed():
    groups = groups_of(*(make_record(config={"momentum": 0.001 * value}) for value in range(200)))
    (text,) = said(unequal_terms(groups[0]))
    assert text.endswith("and 195 more values")
    assert len(text) < 200


def test_older_records_are_named_beside_their_configuration():
    older = make_record(loader_runs_on=False)
    for records, is_named in (((make_record(), older), True), ((make_record(),), False)):
        assert ("page.loader_anew" in repr(build_report(folder_of(*records)).sections)) is is_named
