"""`make crossover`: batches in rounds, a row that ends with the memory, a time that is kept, and going on."""

from __future__ import annotations

import json

import pytest

from campaigns.conftest import ROOT

# The fake scripts leave records as the real ones do, with the command that made them.
LEAVES_RECORDS = """
if step in ("02", "03", "04"):
    record = json.loads(Path("example.json").read_text())
    words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    start = "torchrun --standalone --nproc_per_node=2" if step == "04" else "python"
    batch = int(words[words.index("--batch-size") + 1]) // (2 if step == "03" else 1)
    now = str(time.time_ns())
    record |= {"command": f"{start} {' '.join(words)}", "run_id": now, "started_at": now}
    lost = batch >= too_large.get(step, 10**9)
    if lost:
        failure = {"kind": "out_of_memory", "rank": 0, "message": "-", "advice": "-"}
        record |= {"status": "failed", "failure": failure, "ranks": [], "epochs": [], "anatomy": None}
    Path(f"results/{step}_{time.time_ns()}.json").write_text(json.dumps(record))
    sys.exit(1 if lost else 0)
"""


@pytest.fixture
def lab(fake_lab):
    """A fake lab whose scripts leave records; on `too_large` says at which batch a step is out of memory."""
    (example,) = (ROOT / "results/examples/cpu").glob("02_*63bf.json")
    record = json.loads(example.read_text())
    (fake_lab.folder / "example.json").write_text(example.read_text())
    fake_lab.environment(gpus=[], cpu_cores=2, hostname=record["environment"]["hostname"],
                         torch=record["environment"]["torch"])  # fmt: skip
    fake_lab.plant(f"too_large = {{}}{LEAVES_RECORDS}")
    return fake_lab


def batches(lab, step):
    words = [launch["arguments"] for launch in lab.log if launch["step"] == step]
    return [int(line[line.index("--batch-size") + 1]) for line in words]


def test_every_method_at_every_batch_in_turn_and_the_page_after_each_round(lab):
    done = lab.run("crossover", "--repeats", "2")
    assert done.returncode == 0, done.stderr
    assert lab.steps == ["01", *[*["02", "03", "04"] * 4, "05"] * 2]
    assert batches(lab, "02") == batches(lab, "04") == [8, 32, 16, 64] * 2
    assert batches(lab, "03") == [16, 64, 32, 128] * 2


def test_out_of_memory_ends_a_row_and_not_the_campaign(lab):
    lab.plant(f"too_large = {{'03': 32}}{LEAVES_RECORDS}")
    done = lab.run("crossover", "--repeats", "1")
    assert done.returncode == 0, done.stderr
    assert "Out of memory: recorded, and the campaign goes on." in done.stdout
    assert batches(lab, "03") == [16, 64, 32]  # 64 per device is not tried after 32
    assert batches(lab, "02") == [8, 32, 16, 64]
    lab.run("crossover", "--repeats", "1")
    assert lab.steps.count("03") == 3  # what did not fit is not tried again


def test_any_other_failure_ends_it_and_the_next_one_goes_on_where_it_was(lab):
    lab.plant(f"too_large = {{}}\nif (step, launch) == ('04', 2): sys.exit(7)\n{LEAVES_RECORDS}")
    done = lab.run("crossover", "--batch", "16", "--repeats", "1")
    assert done.returncode == 7
    assert done.stderr.endswith("To go on: make crossover BATCH=16 REPEATS=1\n")
    assert lab.steps == ["01", *["02", "03", "04"] * 2]
    lab.plant(f"too_large = {{}}{LEAVES_RECORDS}")
    assert lab.run("crossover", "--batch", "16", "--repeats", "1").returncode == 0
    assert lab.steps[7:] == ["01", "04", "05"]


def test_the_time_is_said_and_kept_and_the_page_is_written_all_the_same(lab):
    no_time = "from dataclasses import replace; front.STEERED['crossover'] = replace(front.STEERED['crossover'], "
    done = lab.run("crossover", before=f"{no_time}budget={{'cpu': 0}})")
    assert done.returncode == 0, done.stderr
    assert "It ends after 5 min at the latest" in lab.run("crossover").stdout
    assert done.stdout.count("To go on: make crossover") == 1
    assert lab.steps[:2] == ["01", "05"]


def test_one_device_has_nothing_to_catch_up_with(lab):
    done = lab.run("crossover", "--devices", "1")
    assert (done.returncode, lab.steps) == (2, ["01"])
    assert done.stderr.startswith("error: crossover compares several devices with one")
    assert done.stderr.count("\n") == 1
