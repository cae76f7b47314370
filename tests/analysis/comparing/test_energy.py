"""Joules per epoch and per thousand samples, by hand, and when there is no figure."""

from __future__ import annotations

import math

import pytest

from analysis.factories import make_devices, make_record
from analysis.sections.test_comparison import table_of
from analysis.views import groups_of, rows_of
from common.analysis.comparing.csv_files import comparison_table


def make(method, devices, *joules, idle_watts=50.0, indices=None, **options):
    """A run on GPUs that drew so much; None where the counter was not read."""
    uses = make_devices(method, devices, "cuda")
    for use, drawn, index in zip(uses, joules, indices or range(devices), strict=True):
        use.energy_joules, use.idle_watts, use.index = drawn, idle_watts, index
    return make_record(method, devices, kind="cuda", **options).model_copy(update={"devices": uses})


def test_all_devices_over_all_epochs():
    """2 epochs of 20 steps of 32 samples: 1,280 samples."""
    record = make("ddp", 2, 3000.0, 1000.0)
    (row,) = rows_of(record).values()
    energy = row.energy
    assert energy.joules_per_epoch == pytest.approx(2000)
    assert energy.per_thousand.value == pytest.approx(4000 / 1.28)
    assert energy.idle_share == pytest.approx(2 * 50 * sum(record.epoch_seconds) / 4000)
    first = row.device_energy["bench", 0]
    assert first.per_thousand.value == pytest.approx(3000 / 1.28)
    assert first.idle_share == pytest.approx(50 * sum(record.epoch_seconds) / 3000)


def test_repeats_are_a_ratio_of_sums():
    (row,) = rows_of(make("single", 1, 1000.0), make("single", 1, 3000.0)).values()
    assert row.energy.joules_per_epoch == pytest.approx(1000)
    assert row.energy.per_thousand.value == pytest.approx(4000 / 1.28)


def test_three_runs_or_more_give_an_interval_over_runs():
    """3.125, 3.25 and 3.375 J a sample: a standard error of 0.0722, and t is 4.303."""
    runs = [make("single", 1, joules, steps=20, epochs=1) for joules in (1000.0, 1040.0, 1080.0)]
    (row,) = rows_of(*runs).values()
    assert row.energy.per_thousand.value == pytest.approx(3250)
    low, high = row.energy.per_thousand.interval
    assert high / 3250 == pytest.approx(3250 / low) == pytest.approx(math.exp(4.303 * 0.07217 / 3.25), rel=1e-3)
    (row,) = rows_of(*runs[:2]).values()
    assert row.energy.per_thousand.interval is None
    line = comparison_table(groups_of(*runs), {}).iloc[0]
    assert line["energy_joules_per_thousand_samples_low"] == pytest.approx(low)
    assert line["energy_joules_per_thousand_samples_high"] == pytest.approx(high)


def test_a_gpu_that_replicas_share_draws_once():
    """Its counter stands with the first of them."""
    record = make("dp", 2, 1000.0, None, indices=[0, 0], world={"shared": True})
    (row,) = rows_of(record).values()
    assert row.energy.per_thousand.value == pytest.approx(1000 * 1000 / sum(epoch.samples for epoch in record.epochs))


def test_no_total_where_a_device_was_not_counted():
    (row,) = rows_of(make("ddp", 2, 1000.0, None)).values()
    assert row.energy is None
    assert list(row.device_energy) == [("bench", 0)]


def test_idle_power_may_be_unknown():
    (row,) = rows_of(make("single", 1, 1000.0, idle_watts=None)).values()
    assert row.energy.idle_share is None


def test_the_column_is_there_only_where_something_was_counted():
    cells = table_of(make("single", 1, 1280.0), make("ddp", 2, None, None))
    assert cells["One device"]["energy"].text == "2.00 kJ"
    assert cells["One device"]["energy"].notes[0].startswith("of it idle power ")
    assert (cells["DDP × 2"]["energy"].text, cells["DDP × 2"]["energy"].notes) == ("n/a", ["not counted"])
    assert "energy" not in table_of(make("single", 1, None))["One device"]
