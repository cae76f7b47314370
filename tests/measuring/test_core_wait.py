"""What others took of the cores, from a made-up /proc/stat and from the real one."""

from __future__ import annotations

import os
import threading

import pytest

from common.measuring import clocks
from common.measuring.clocks import CoreLosses, CoreWait
from common.training import data_parallel

TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def stat(tmp_path, monkeypatch):
    """This process has the cores 0 and 2; `stat(cores)` writes what each core has done, in seconds."""
    monkeypatch.setattr(clocks, "STAT", tmp_path / "stat")
    monkeypatch.setattr(clocks, "SCHEDSTAT", tmp_path / "none")
    monkeypatch.setattr(clocks, "current_cores", lambda: {0, 2})

    def write(cores: dict[int, tuple[int, ...]]) -> None:
        """Of each core user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice."""
        rows = (" ".join([f"cpu{core}", *(str(time * TICKS) for time in times)]) for core, times in cores.items())
        (tmp_path / "stat").write_text("\n".join(["cpu  9 9 9 9 9 9 9 9 9 9", *rows, "intr 5 0 0", "ctxt 9"]) + "\n")

    return write


def test_the_stolen_time_of_this_process_own_cores_counts(stat):
    stat(dict.fromkeys(range(3), (1,) * 10))
    watch = CoreWait()
    stat({0: (5, 2, 2, 9, 9, 2, 2, 3, 5, 2), 1: (99,) * 10, 2: (3, 1, 1, 1, 1, 1, 1, 2, 1, 1)})
    assert watch.losses() == CoreLosses(None, None, steal_seconds=3.0, busy_core_seconds=10.0)


@pytest.mark.parametrize("cores", [{0: (1,) * 10}, {0: (1,) * 10, 2: (1,) * 7}, {}])
def test_where_a_core_has_no_line_or_no_such_count_nothing_is_known(stat, cores):
    stat(cores)
    assert CoreWait().losses() == CoreLosses(None, None, None, None)


@pytest.mark.parametrize(
    ("losses", "oversubscribed", "said"),
    [
        (CoreLosses(0.2, 0, 1.0, 9.0), False, []),
        (CoreLosses(0.3, 0, 0.0, 9.0), False, ["other programs"]),
        (CoreLosses(0.3, 0, 0.0, 9.0), True, []),
        (CoreLosses(0.3, 4, 0.0, 9.0), True, ["control group"]),
        (CoreLosses(0.3, None, 3.0, 6.0), False, ["other programs", "(steal)"]),
        (CoreLosses(None, None, 3.0, 6.0), True, ["(steal)"]),
        (CoreLosses(None, None, None, None), False, []),
    ],
)
def test_what_is_told_of_an_epoch_of_one_second(losses, oversubscribed, said):
    warnings = list(losses.warnings(1.0, quota=2.5, oversubscribed=oversubscribed))
    assert len(warnings) == len(said)
    assert all(part in one.text for one, part in zip(warnings, said, strict=True))


def test_the_real_counters_grow_while_this_process_works():
    watch = CoreWait()
    until = os.times().elapsed + 0.2
    while os.times().elapsed < until:
        pass
    assert watch.losses().busy_core_seconds > 0.05


def test_waits_of_the_threads_of_emulated_replicas_count(monkeypatch):
    """The main thread only waits for them; of those that run at once, the longest wait is the step's."""
    own = {}

    def core_wait():
        thread = threading.get_ident()
        own[thread] = own.get(thread, 0) + 1
        return 0.0 if own[thread] == 1 else 3.0

    monkeypatch.setattr(data_parallel, "core_wait", core_wait)
    before = CoreWait.of_threads
    assert data_parallel.CoreThreads(2).map(lambda number: number + 1, [1, 2]) == [2, 3]
    assert CoreWait.of_threads - before == pytest.approx(3.0)
