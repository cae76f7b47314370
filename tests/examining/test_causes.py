"""A cause of DataParallel's loss that is put in on purpose is found as itself, and not as another."""

import pytest
from conftest import SMALL, planted, run_script

from common.analysis.comparing.groups import compare_runs
from common.analysis.judging.breakdown import breakdowns
from common.analysis.reading.folder import read_folder

SECONDS = 0.3
"""Of sleep: far above what a busy machine takes of a step."""
SLOW = f"""
import time
def slow(of_class, name, seconds={SECONDS}):
    quick = getattr(of_class, name)
    setattr(of_class, name, lambda *arguments: (time.sleep(seconds), quick(*arguments))[1])
from common.training.data import SyntheticImageNet
from common.training.data_parallel import EmulatedDataParallel
from common.training.data_parallel import DeviceThreads
"""
CAUSES = {
    "new_replicas": 'slow(EmulatedDataParallel, "replicate")',
    "new_threads": 'slow(DeviceThreads, "__init__")',
    "copies": 'slow(EmulatedDataParallel, "scatter", 0.15)\nslow(EmulatedDataParallel, "gather", 0.15)',
    "data_wait": 'slow(SyntheticImageNet, "__getitems__", 0.33)',
}
SHORT = [*SMALL, "--epochs", 1, "--uncounted-steps", 1, "--quiet"]


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
    arguments = ["--batch-size", 16, "--gpus", "0,1", "--samples-per-epoch", 128, "--anatomy-steps", 6]
    process = run_script(script, *SHORT, *arguments, "--results-dir", folder)
    assert process.returncode == 0, process.stderr
    for record in folder_of_one.glob("*.json"):
        (folder / record.name).write_bytes(record.read_bytes())
    records = read_folder(folder)
    (one,) = breakdowns(compare_runs(records).groups[0])
    items = {id: cost.value for id, cost in one.items.items()}
    # The costs themselves: a breakdown leaves out those that chance may explain. Its residual is not looked at, for it
    # holds what other programs took of the measured epochs.
    effects = one.row.profile.replicated
    costs = {
        "new_threads": effects.threads_cost.value,
        "new_replicas": effects.replicas_cost.value,
        "copies": items.get("copies", 0.0),
        "data_wait": items.get("data_wait", 0.0),
    }
    assert costs.pop(cause) == pytest.approx(SECONDS, rel=0.5), (costs, items)
    assert all(abs(seconds) < SECONDS / 2 for seconds in costs.values()), (costs, items)
    assert abs(effects.interaction.value) < 0.6 * SECONDS
