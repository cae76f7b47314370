"""What goes wrong, and what it leaves: one line for bad input, a record for a run that did not complete."""

import os
import subprocess

import pytest
from conftest import SMALL, SQUEEZENET, TWO_RANKS, environment, planted, records_in, run_script
from factories import make_config, make_place

from common.running.failures import explain

SINGLE, DP, DDP = "02_baseline_single_gpu.py", "03_dataparallel_training.py", "04_ddp_training.py"


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        (SINGLE, ["--model", "resnet5O"], "resnet50"),
        (SINGLE, ["--batch-size", "0"], "--batch-size"),
        (SINGLE, ["--batch-size", "many"], "--batch-size"),
        (SINGLE, ["--epochs", "0"], "--epochs"),
        (SINGLE, ["--batch-size", "1024"], "--samples-per-epoch"),
        (SINGLE, ["--lr", "nan"], "--lr"),
        (SINGLE, ["--device", "cuda"], "--device cpu"),
        (SINGLE, ["--precision", "tf32"], "ieee-fp32"),
        (SINGLE, ["--precision", "fp16"], "bf16"),
        (SINGLE, ["--model", "maxvit_t"], "--image-size 224"),
        (SINGLE, ["--model", "inception_v3"], "--image-size 299"),
        (DP, ["--batch-size", "3", "--gpus", "0,1,2,3"], "--batch-size 4"),
        (DP, ["--gpus", "0,7"], "--gpus 0,1"),
        (DP, ["--gpus", "a"], "--gpus"),
        (DP, ["--gpus", ""], "--gpus"),
        (DDP, [], "torchrun"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, script, arguments, said):
    process = run_script(script, *arguments, "--results-dir", tmp_path / "results")
    assert process.returncode == 2, process.stderr
    assert process.stdout == ""
    assert process.stderr.startswith("error: ")
    assert process.stderr.count("\n") == 1
    assert said in process.stderr
    assert records_in(tmp_path / "results") == []


def test_bad_input_under_torchrun_is_said_once(tmp_path):
    process = run_script(DDP, "--model", "resnet5O", "--results-dir", tmp_path, ranks=2)
    assert process.returncode != 0
    assert process.stderr.count("error: no torchvision classification model") == 1


@pytest.mark.parametrize(
    ("patience", "behind"),
    [pytest.param(20, 1, id="rank 0 is behind"), pytest.param(0.1, 100, id="rank 0 has nothing to say")],
)
def test_bad_input_is_said_whichever_rank_is_first(tmp_path, patience, behind):
    """The rank that ends first has the others ended."""
    code = f"""
import os, signal, time
from common.command_line import parser
parser.SECONDS_FOR_THE_FIRST, tell = {patience}, parser.tell
def late(line):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep({behind})
    tell(line)
if os.environ["RANK"] == "0":
    parser.tell = late
"""
    process = run_script(planted(tmp_path, DDP, code), "--model", "resnet5O", "--results-dir", tmp_path, ranks=2)
    assert process.returncode != 0
    assert process.stderr.count("error: no torchvision classification model") == 1
    assert "Traceback" not in process.stderr


def test_unwritable_results_directory(tmp_path):
    (tmp_path / "file").touch()
    process = run_script(SINGLE, *SMALL, "--results-dir", tmp_path / "file" / "results")
    assert process.returncode == 2
    assert "--results-dir" in process.stderr
    assert "Traceback" not in process.stderr


def test_full_disk_keeps_what_is_there_and_saves_the_record_elsewhere(full_disk, short_folder):
    earlier = full_disk / "earlier.json"
    earlier.write_text("{}")
    arguments = [*SMALL, "--batch-size", 32, "--results-dir", full_disk]
    process = run_script(SINGLE, *arguments, env=environment(TMPDIR=str(short_folder)))
    assert process.returncode == 2
    assert "No space left" in process.stderr
    assert os.listdir(full_disk) == ["earlier.json"]
    assert earlier.read_text() == "{}"
    (spare,) = short_folder.glob("lab-record-*")
    assert [record["status"] for record in records_in(spare)] == ["completed"]


def test_out_of_memory_leaves_a_record_with_advice(tmp_path):
    """What the first convolution gives for these images takes 3 GiB alone."""
    limited = planted(tmp_path, SINGLE, "import resource; resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30,) * 2)")
    arguments = ["--model", "resnet18", "--image-size", 224, "--batch-size", 1024, "--samples-per-epoch", 1024]
    process = run_script(limited, *arguments, "--results-dir", tmp_path / "results")
    assert process.returncode == 1
    (record,) = records_in(tmp_path / "results")
    assert (record["status"], record["failure"]["kind"]) == ("failed", "out_of_memory")
    assert "--batch-size" in record["failure"]["advice"]
    assert "1024 images of 224 px" in process.stderr
    assert "Traceback" not in process.stderr


def test_a_thread_that_fails_after_the_last_word_adds_nothing(tmp_path):
    """As the one that pins a loader's batches on GPUs does, where it reads from workers that end."""
    code = """
import atexit, threading
ended = threading.Event()
def pin():
    ended.wait()
    raise ConnectionRefusedError("planted")
thread = threading.Thread(target=pin)
def end():
    ended.set()
    thread.join()
atexit.register(end)
def train_step(*_):
    thread.start()
    raise RuntimeError("out of memory, planted")
"""
    process = run_script(planted(tmp_path, SINGLE, code), *SMALL, "--results-dir", tmp_path / "results")
    assert process.returncode == 1
    assert "failed: out of memory, planted" in process.stderr
    assert "ConnectionRefusedError" not in process.stderr


def test_an_exception_in_one_rank_leaves_its_reason_and_no_process(tmp_path):
    """Rank 1 alone fails, in the middle of an epoch: the record tells its reason, not rank 0's loss of contact.

    Started as by a person: torchrun and its ranks are interpreters of their own, which no other test on CPU cores has.
    """
    code = """
import os
step, done = train_step, []
def failing(training, batches, *more):
    if more:
        return step(training, batches, *more)
    done.append(1)
    if os.environ["RANK"] == "1" and len(done) == 6:
        raise ValueError("planted")
    return step(training, batches)
train_step = failing
"""
    script = planted(tmp_path, DDP, code)
    arguments = [*SQUEEZENET, "--batch-size", 8, "--results-dir", tmp_path / "results"]
    process = run_script(script, *arguments, ranks=2, new_interpreter=True, timeout=120)
    assert process.returncode != 0
    (record,) = records_in(tmp_path / "results")
    assert (record["status"], record["failure"]["kind"], record["failure"]["rank"]) == ("failed", "exception", 1)
    assert record["failure"]["message"] == "planted"
    assert "planted" in record["failure"]["traceback"]
    assert len(record["epochs"]) == 1
    lines = subprocess.run(["ps", "-eo", "stat,args"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line for line in lines if str(tmp_path) in line and not line.startswith("Z")] == []


@pytest.mark.parametrize("script", [SINGLE, DP, DDP])
def test_ctrl_c_leaves_a_record_and_no_process(tmp_path, script):
    arguments = [*SMALL, "--samples-per-epoch", 16, "--epochs", 1000, "--batch-size", 8, "--results-dir", tmp_path]
    arguments += ["--gpus", "0,1"] if script == DP else []  # of many cores, eight samples would not reach all
    how = {"ranks": 2, "torchrun": TWO_RANKS} if script == DDP else {"finalize": True}
    process = run_script(script, *arguments, interrupt_after="epoch 2/", **how)
    assert process.returncode != 0
    assert records_in(tmp_path) != [], process.stderr
    (record,) = records_in(tmp_path)
    assert (record["status"], record["failure"]["kind"]) == ("interrupted", "interrupted")
    assert len(record["epochs"]) >= 2
    assert str(next(tmp_path.glob("*.json"))) in process.stderr
    assert process.left == []


@pytest.mark.parametrize(
    ("workload", "batch", "way_out"),
    [
        ({"image_size": 32}, "8 images of 32 px", "or lower --batch-size or --image-size, or"),
        (
            {"image_size": 0, "unit": "tokens", "units_per_sample": 64, "sequence_length": 64},
            "8 sequences of 64 tokens",
            "or lower --batch-size or --sequence-length, or",
        ),
        ({"image_size": 0, "unit": "tokens", "units_per_sample": 64}, "8 sequences of 64 tokens", "--batch-size, or"),
        ({"image_size": 0, "unit": "samples"}, "8 samples per device", "or lower --batch-size, or"),
    ],
)
def test_out_of_memory_is_said_in_what_the_model_counts(workload, batch, way_out):
    def train_step():
        raise MemoryError

    with pytest.raises(MemoryError) as caught:
        train_step()
    advice = explain(caught.value, make_config(**workload), make_place(), 0).advice
    assert f"A batch of {batch}" in advice
    assert way_out in advice
    elsewhere = explain(MemoryError(), make_config(**workload), make_place(), 0).advice
    assert ("image" in elsewhere) == bool(workload["image_size"])
