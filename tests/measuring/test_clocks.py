import pytest
from factories import make_place

from common.measuring import clocks
from common.measuring.clocks import StepClock


def test_waiting_and_working_are_told_apart_and_steps_add_up(monkeypatch):
    now = 0.0  # a clock of its own: on a busy machine a sleep takes longer than it should
    monkeypatch.setattr(clocks, "perf_counter", lambda: now)
    clock = StepClock(make_place())

    def loader():
        nonlocal now
        for wait, work in [(0.05, 0.01), (0.0, 0.05)]:
            now += wait
            yield work

    for work in clock.time_steps(loader()):
        now += work
    times = clock.times
    assert times.data_waits == pytest.approx([0.05, 0.0])
    assert times.steps == pytest.approx([0.06, 0.05])
    assert sum(times.steps) == pytest.approx(times.host)
