import time

import pytest
from factories import make_place

from common.measuring.clocks import StepClock


def test_waiting_and_working_are_told_apart_and_steps_add_up():
    clock = StepClock(make_place())
    clock.start()
    for wait, work in [(0.05, 0.01), (0.0, 0.05)]:
        time.sleep(wait)
        clock.data_ready()
        time.sleep(work)
        clock.step_done()
    times = clock.finish()
    assert times.data_waits == pytest.approx([0.05, 0.0], abs=0.02)
    assert times.steps == pytest.approx([0.06, 0.05], abs=0.02)
    assert sum(times.steps) == pytest.approx(times.host, abs=0.01)
