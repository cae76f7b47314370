"""What disturbs a comparison: a difference between its two sides, and nothing that is the same on both."""

from __future__ import annotations

import pytest

from analysis.factories import in_rounds, make_record
from analysis.views import WORDS, rows_of
from common.analysis.judging.row_checks import conditions, pooled_checks
from common.records import GpuHealth

POWER = {"throttle_reasons": ["power cap"]}


def lab(kind="cuda", one=None, ddp=None, spoilt=(0, 1, 2), **options):
    """Three rounds of one device and DDP × 2; `one` and `ddp` change the launches of these rounds."""
    records = in_rounds(make_record(kind=kind, **options), make_record("ddp", 2, 0.55, kind=kind, **options))
    for number, record in enumerate(records):
        change = (one, ddp)[number % 2]
        if change and number // 2 in spoilt:
            change(record)
    return rows_of(*records)


def health(**readings):
    """Of every GPU of a run."""

    def change(record):
        for device in record.devices:
            device.health = GpuHealth(**{"samples": 5, "other_processes": 0, "sm_clock_mhz_median": 1900} | readings)

    return change


def waiting(share):
    """So much of the time each rank waited for a core."""

    def change(record):
        for rank in record.ranks:
            rank.core_wait_seconds = [share * seconds for seconds in rank.host_epoch_seconds]

    return change


def losing(share):
    """So much of the CPU time that each rank's cores wanted went to other virtual machines."""

    def change(record):
        for rank in record.ranks:
            rank.steal_seconds = [share * seconds for seconds in rank.host_epoch_seconds]
            rank.busy_core_seconds = [(1 - share) * seconds for seconds in rank.host_epoch_seconds]

    return change


def trouble(row):
    return {check.id for check in pooled_checks(row) if check.has_failed}


def test_a_busy_host_on_which_nothing_waited_doubts_nothing():
    """As in a container that sees its host's load average: 40 on two cores, and waits of 1 %."""
    busy = {"kind": "cpu", "environment": {"load_average_1min": 40.0}}
    rows = lab(one=waiting(0.01), ddp=waiting(0.01), **busy)
    assert trouble(rows["One device"]) == trouble(rows["DDP × 2"]) == set()
    assert trouble(lab(**busy)["DDP × 2"]) == {"load"}  # nobody counted the waits
    assert trouble(lab(one=waiting(0.2), ddp=waiting(0.2), **busy)["DDP × 2"]) == {"load"}


def test_what_holds_in_all_runs_of_both_sides_disturbs_nothing():
    rows = lab(one=health(**POWER), ddp=health(**POWER))
    assert trouble(rows["One device"]) == trouble(rows["DDP × 2"]) == set()
    set_clocks = lab(ddp=health(throttle_reasons=["application clocks"]), one=health())
    assert trouble(set_clocks["DDP × 2"]) == set()


def test_what_holds_on_one_side_or_at_times_is_marked():
    assert trouble(lab(one=health(), ddp=health(**POWER))["DDP × 2"]) == {"throttling"}
    one_round = lab(one=health(), ddp=health(**POWER), spoilt=(1,))
    assert trouble(one_round["DDP × 2"]) == {"throttling"}


@pytest.mark.parametrize(
    ("usual", "changed", "words"),
    [
        (waiting(0.02), waiting(0.4), "its ranks waited for a core 40 % of the time, those 2 %"),
        (losing(0.0), losing(0.4), "other virtual machines took 40 % of the CPU time that it wanted, there 0 %"),
        (health(), health(sm_clock_mhz_median=1400), "SM clock 1,400 MHz, there 1,900 MHz"),
        (health(), health(other_processes=2), "up to 2 other processes on a GPU, there 0"),
    ],
)
def test_a_difference_that_stays_with_one_side_is_said(usual, changed, words):
    check = conditions(lab(one=usual, ddp=changed)["DDP × 2"])
    assert check.outcome == "warning"
    assert words in WORDS.text(check.reason)
    assert conditions(lab(one=usual, ddp=usual)["DDP × 2"]).outcome == "passed"
    assert conditions(lab()["DDP × 2"]).outcome == "not measured"


def test_what_hits_one_launch_of_three_is_left_to_the_interval():
    row = lab(ddp=waiting(0.4), spoilt=(1,))["DDP × 2"]
    assert conditions(row).outcome != "warning"
    usual = lab()["DDP × 2"].speed_up
    assert row.speed_up.relative_error == pytest.approx(usual.relative_error)  # no rule widens it
