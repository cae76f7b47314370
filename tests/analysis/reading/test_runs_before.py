"""The load that a run meets: what the lab's own run just before explains is not other work."""

from __future__ import annotations

import pytest

from analysis.factories import make_record, write
from analysis.profile_factories import make_probed
from common.analysis.judging.run_checks import check_run
from common.analysis.reading.folder import read_folder

EARLIER = {"started_at": "2026-01-01T10:00:00+00:00", "finished_at": "2026-01-01T10:01:00+00:00"}


def load_of(tmp_path, *records):
    """The load check of the newest run."""
    run = read_folder(write(tmp_path, *records)).runs[-1]
    return next(check for check in check_run(run) if check.id == "load")


def later(seconds, average, **changes):
    at = f"2026-01-01T10:{1 + seconds // 60:02}:{seconds % 60:02}+00:00"
    return make_record(started_at=at, environment={"load_average_1min": average, **changes})


@pytest.mark.parametrize(
    ("seconds", "average", "outcome"),
    [(5, 3.9, "passed"), (59, 3.9, "passed"), (61, 3.9, "warning"), (5, 4.1, "warning")],
)
def test_two_devices_of_the_run_before_explain_a_load_of_two(tmp_path, seconds, average, outcome):
    """On 2 cores; the run before kept 2 devices busy."""
    records = make_record("ddp", 2, **EARLIER), later(seconds, average)
    assert load_of(tmp_path, *records).outcome == outcome
    assert read_folder(tmp_path).runs[-1].devices_before == (2 if seconds <= 60 else 0)


def test_a_run_on_another_host_explains_nothing(tmp_path):
    assert load_of(tmp_path, make_record("ddp", 2, **EARLIER), later(5, 3.9, hostname="other")).outcome == "warning"


def test_a_run_that_ends_later_explains_nothing(tmp_path):
    beside = make_record("ddp", 2, started_at=EARLIER["started_at"], finished_at="2026-01-01T10:30:00+00:00")
    assert load_of(tmp_path, beside, later(5, 3.9)).outcome == "warning"


def test_the_probes_of_step_01_count(tmp_path):
    """They begin at 10:00:45 and take 20 s."""
    assert load_of(tmp_path, make_probed(started_at="2026-01-01T10:00:45+00:00"), later(10, 3.9)).outcome == "passed"


def test_threads_of_a_cpu_device_are_counted(tmp_path):
    before = make_record(world={"threads_per_device": 4}, **EARLIER)
    assert load_of(tmp_path, before, later(5, 5.9)).outcome == "passed"


def test_times_that_are_no_times_are_survived(tmp_path):
    broken = make_record(started_at="yesterday", finished_at="today", environment={"load_average_1min": 3.9})
    assert load_of(tmp_path, broken).outcome == "warning"
