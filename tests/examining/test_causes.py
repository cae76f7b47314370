"""A cause of DataParallel's loss that is put in on purpose is found as itself, and not as another."""

import pytest
from conftest import SMALL, planted, run_script

from common.analysis.comparing.groups import build_groups
from common.analysis.comparing.tables import tidy
from common.analysis.judging.breakdown import breakdowns
from common.analysis.reading.folder import read_folder

SECONDS = 0.12
SLOW = f"""
import time
def slow(of_class, name, seconds={SECONDS}):
    quick = getattr(of_class, name)
    setattr(of_class, name, lambda *arguments: (time.sleep(seconds), quick(*arguments))[1])
from common.training.data import SyntheticImageNet
from common.training.data_parallel import EmulatedDataParallel
from common.training.kept_threads import DeviceThreads
"""
CAUSES = {
    "new_replicas": 'slow(EmulatedDataParallel, "replicate")',
    "new_threads": 'slow(DeviceThreads, "__init__")',
    "copies": 'slow(EmulatedDataParallel, "scatter", 0.06)\nslow(EmulatedDataParallel, "gather", 0.06)',
    "data_wait": 'slow(SyntheticImageNet, "__getitems__", 0.15)',
}
SHORT = [*SMALL, "--epochs", 1, "--warmup-steps", 1, "--quiet"]


@pytest.fixture(scope="module")
def folder_of_one(tmp_path_factory):
    """A record of one device."""
    folder = tmp_path_factory.mktemp("one")
    arguments = [*SHORT, "--batch-size", 8, "--samples-per-epoch", 64, "--results-dir", folder]
    process = run_script("02_baseline_single_gpu.py", *arguments)
    assert process.returncode == 0, process.stderr
    return folder


@pytest.mark.parametrize("cause", CAUSES)
def test_a_planted_cause_is_found_as_itself(tmp_path, folder_of_one, cause):
    script = planted(tmp_path, "03_dataparallel_training.py", SLOW + CAUSES[cause])
    folder = tmp_path / "results"
    arguments = ["--batch-size", 16, "--gpus", "0,1", "--samples-per-epoch", 160, "--anatomy-steps", 6]
    process = run_script(script, *SHORT, *arguments, "--results-dir", folder)
    assert process.returncode == 0, process.stderr
    for record in folder_of_one.glob("*.json"):
        (folder / record.name).write_bytes(record.read_bytes())
    found = read_folder(folder)
    (one,) = breakdowns(build_groups(tidy(found.runs, found.probed))[0])
    items = {item.id: item.seconds for item in one.items}
    assert items[cause] == pytest.approx(SECONDS, rel=0.5), items
    # The residual holds what a busy machine takes of the measured epochs, too, so that it is no part of this.
    others = {id: seconds for id, seconds in items.items() if id not in (cause, "residual")}
    assert all(abs(seconds) < 0.6 * items[cause] for seconds in others.values()), items
    costs = one.row.profile.replicated
    for cost, id in ((costs.threads_cost, "new_threads"), (costs.replicas_cost, "new_replicas")):
        assert (cost.value > SECONDS / 2) == (cause == id)
        assert cost.is_above_zero or cause != id
    assert abs(costs.interaction.value) < 0.6 * SECONDS
