"""Checkpoints: a run that goes on ends where an uninterrupted one would, under any method."""

import os

import pytest
import torch
from conftest import LEARNING, ROOT, SMALL, TWO_RANKS_RESTARTED, planted, records_in, run_script
from factories import make_config, make_place
from trainers import make_training

from common.command_line.options import TrainingOptions
from common.errors import UsageError
from common.running.resumption import Start, find_start, restore

SINGLE, DP, DDP = "02_baseline_single_gpu.py", "03_dataparallel_training.py", "04_ddp_training.py"
STARTS = {
    SINGLE: (["--batch-size", 16], 0),
    DP: (["--batch-size", 16, "--gpus", "0,1"], 0),
    DDP: (["--batch-size", 8], 2),
}


def train(script, folder, *more, results):
    batch, ranks = STARTS[script]
    arguments = [*LEARNING, *batch, "--uncounted-steps", 1, "--checkpoint-dir", folder, "--results-dir", results, *more]
    return run_script(script, *arguments, ranks=ranks)


def weights(folder):
    newest = sorted(folder.glob("checkpoint-*.pt"))[-1]
    state = torch.load(newest, weights_only=True)
    return state["model"], state["optimizer"]["state"]


def assert_equal(one, other):
    for mine, theirs in zip(weights(one), weights(other), strict=True):
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            if isinstance(value, dict):
                assert torch.equal(value["momentum_buffer"], theirs[name]["momentum_buffer"]), name
            else:
                assert torch.equal(value, theirs[name]), name


@pytest.mark.parametrize("script", [SINGLE, DDP])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, script):
    """Bit for bit, from the middle of an epoch: the second process trains what the first has left."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert train(script, whole, results=tmp_path / "a").returncode == 0
    first = train(script, broken, "--epochs", 1, "--checkpoint-every", 3, results=tmp_path / "b")
    assert first.returncode == 0, first.stderr
    assert [path.name for path in sorted(broken.iterdir())] == [
        "checkpoint-0001-000003.pt",
        "checkpoint-0002-000000.pt",
    ]
    (broken / "checkpoint-0002-000000.pt").unlink()
    second = train(script, broken, "--resume", "auto", results=tmp_path / "c")
    assert second.returncode == 0, second.stderr
    assert "goes on from" in second.stdout
    assert_equal(whole, broken)
    (record,) = records_in(tmp_path / "c")
    assert (record["resumed"]["epoch"], record["resumed"]["steps_done"]) == (1, 3)
    assert [(epoch["epoch"], epoch["steps"], epoch["samples"]) for epoch in record["epochs"]] == [
        (1, 1, 16),
        (2, 4, 64),
    ]
    for position, epoch in enumerate(record["epochs"]):  # the rest of the broken epoch, and nothing twice
        seen = sum(int(rank["checksums"][position], 16) for rank in record["ranks"]) % 2**64
        assert seen == int(epoch["expected_checksum"], 16)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of a finished run of two epochs on one device."""
    folder = tmp_path_factory.mktemp("written")
    assert train(SINGLE, folder / "checkpoints", results=folder).returncode == 0
    return folder / "checkpoints"


def copied(written, folder):
    for path in written.iterdir():
        os.link(path, folder / path.name)
    return folder


def test_one_checkpoint_serves_every_method(written, tmp_path):
    newest = sorted(written.iterdir())[-1]
    assert not any("module." in name for name in weights(written)[0])
    for script in (DP, DDP):
        process = train(script, tmp_path / script, "--epochs", 3, "--resume", newest, results=tmp_path)
        assert process.returncode == 0, process.stderr
    alone = train(SINGLE, tmp_path / "alone", "--epochs", 3, "--resume", newest, results=tmp_path)
    assert alone.returncode == 0, alone.stderr
    losses = {record["method"]: record["epochs"][0]["mean_loss"] for record in records_in(tmp_path)}
    untrained = 6.9
    assert losses.keys() == {"single", "dp", "ddp"}
    assert max(losses.values()) < untrained - 1


def test_a_torn_checkpoint_gives_way_to_the_one_before_it(written, tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    older, newest = sorted(copied(written, folder).iterdir())
    content = newest.read_bytes()
    newest.unlink()
    newest.write_bytes(content[: len(content) // 2])
    process = train(SINGLE, folder, "--resume", "auto", results=tmp_path)
    assert process.returncode == 0, process.stderr
    assert f"a newer checkpoint was left out: {newest.name}" in " ".join(process.stdout.split())
    (record,) = records_in(tmp_path)
    assert record["resumed"]["file"] == str(older)
    assert record["resumed"]["epoch"] == 2
    assert len(record["resumed"]["skipped"]) == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "add --resume auto"),
        (["--resume", "auto"], "more --epochs"),
        (["--resume", "auto", "--epochs", 3, "--model", "resnet34"], "model few_layers"),
        (["--resume", "auto", "--epochs", 3, "--num-classes", 5], "num_classes 1000"),
        (["--resume", "auto", "--epochs", 3, "--seed", 7], "with seed 0, this run has 7: give the same"),
        (["--resume", "auto", "--epochs", 3, "--lr", "0.5"], "with learning_rate 0.02, this run has 0.5"),
        (["--resume", "auto", "--epochs", 3, "--momentum", "0.1"], "with momentum 0.9, this run has 0.1"),
        (["--resume", "auto", "--epochs", 3, "--weight-decay", "0.5"], "this run has 0.5"),
        (["--resume", "nowhere.pt"], "no such file"),
        (["--resume", "README.md"], "cannot be read"),
    ],
)
def test_what_cannot_be_resumed_is_refused(written, tmp_path, more, said):
    before = sorted(path.name for path in written.iterdir())
    process = train(SINGLE, written, *more, results=tmp_path)
    assert process.returncode == 2, process.stderr
    assert process.stderr.startswith("error: ")
    assert process.stderr.count("\n") == 1
    assert said in process.stderr
    assert process.stdout == ""
    assert sorted(path.name for path in written.iterdir()) == before
    assert records_in(tmp_path) == []


@pytest.mark.parametrize("more", [["--resume", "auto"], ["--checkpoint-every", 2]])
def test_without_a_folder_there_is_nothing_to_resume_or_to_write_to(tmp_path, more):
    process = run_script(SINGLE, *SMALL, "--batch-size", 16, *more, "--results-dir", tmp_path)
    assert process.returncode == 2
    assert "--checkpoint-dir" in process.stderr


def test_a_killed_rank_brings_the_job_back_from_the_last_checkpoint(tmp_path):
    """SIGKILL for rank 1 in the last step of epoch 2, under torchrun: the steps since the checkpoint are done again."""
    code = """
import os, signal
usual, done = train_step, []
def killed(training, batches, *more):
    if more:
        return usual(training, batches, *more)
    done.append(1)
    if (os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"], len(done)) == ("1", "0", 4 + 4):
        os.kill(os.getpid(), signal.SIGKILL)
    return usual(training, batches)
train_step = killed
"""
    arguments = [*SMALL, "--batch-size", 8, "--uncounted-steps", 1, "--results-dir", tmp_path / "results"]
    arguments += ["--checkpoint-dir", tmp_path / "checkpoints", "--checkpoint-every", 2, "--resume", "auto"]
    process = run_script(planted(tmp_path, DDP, code), *arguments, ranks=2, torchrun=TWO_RANKS_RESTARTED)
    assert process.returncode == 0, process.stderr
    lost, finished = records_in(tmp_path / "results")
    assert lost["status"] in ("failed", "interrupted")  # whichever reached rank 0 first
    assert (finished["status"], finished["world"]["restarts"]) == ("completed", 1)
    assert (finished["resumed"]["epoch"], finished["resumed"]["steps_done"]) == (2, 2)
    assert [epoch["steps"] for epoch in finished["epochs"]] == [4 - 2]
    assert "restarted by torchrun" in process.stdout


def test_a_run_that_goes_on_from_a_file_writes_its_own_checkpoints(written, tmp_path):
    newest = sorted(written.iterdir())[-1]
    process = train(SINGLE, tmp_path / "new", "--epochs", 3, "--resume", newest, results=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "not written" not in process.stdout
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["checkpoint-0004-000000.pt"]


def test_a_file_from_elsewhere_does_not_join_the_checkpoints_of_another_run(written, tmp_path):
    newest = sorted(written.iterdir())[-1]
    (tmp_path / "other").mkdir()
    copied(written, tmp_path / "other")
    process = train(SINGLE, tmp_path / "other", "--epochs", 3, "--resume", newest, results=tmp_path)
    assert process.returncode == 2
    assert "holds checkpoints of another run" in process.stderr


def test_an_optimizer_whose_weights_are_grouped_otherwise_is_refused():
    """Its momentum would go to other weights of the same shape."""
    here = make_place()
    training = make_training(make_config(), here)
    weights = list(training.module.parameters())
    training.step(next(training.endless_steps()))
    state = {"model": training.module.state_dict(), "optimizer": training.optimizer.state_dict(), "scaler": {}}
    start = Start(state=state | {"random_by_rank": []})
    restore(training, here, start)
    training.optimizer = torch.optim.SGD([{"params": weights[1:]}, {"params": weights[:1]}], lr=0.1)
    with pytest.raises(UsageError, match=r"the checkpoint does not fit .*weights by group"):
        restore(training, here, start)


def test_a_momentum_of_another_shape_is_refused():
    """As of a model of one's own whose layers changed their order: weights are found by name, momentum by place."""
    here = make_place()
    training = make_training(make_config(), here)
    training.step(next(training.endless_steps()))
    optimizer = training.optimizer.state_dict()
    first, last = min(optimizer["state"]), max(optimizer["state"])
    optimizer["state"] |= {first: optimizer["state"][last], last: optimizer["state"][first]}
    state = {"model": training.module.state_dict(), "optimizer": optimizer, "scaler": {}, "random_by_rank": []}
    with pytest.raises(UsageError, match=r"the checkpoint does not fit .*momentum_buffer of shape"):
        restore(training, here, Start(state=state))


@pytest.mark.parametrize(
    "planted_part",
    [{"epoch": -1}, {"steps_done": -5}, {"config": {"learning_rate": "x"}}, {"config": {"global_batch_size": None}}],
)
def test_a_checkpoint_with_numbers_that_no_run_has_is_one_line(written, tmp_path, planted_part):
    state = torch.load(sorted(written.iterdir())[-1], weights_only=True)
    for name, value in planted_part.items():
        state[name] = state[name] | value if isinstance(value, dict) else value
    path = tmp_path / "checkpoint-0003-000000.pt"
    torch.save(state, path)
    config = make_config(epochs=9)
    with pytest.raises(UsageError, match="it is not a checkpoint that this lab has written"):
        find_start(TrainingOptions.model_construct(resume=str(path), checkpoint_dir=None), config, make_place())
    with pytest.raises(UsageError, match=r"none of .* can be read"):
        find_start(TrainingOptions.model_construct(resume="auto", checkpoint_dir=tmp_path), config, make_place())


def test_a_checkpoint_that_does_not_name_its_model_is_refused(written, tmp_path):
    state = torch.load(sorted(written.iterdir())[-1], weights_only=True)
    del state["config"]["model"]
    torch.save(state, tmp_path / "checkpoint-0003-000000.pt")
    with pytest.raises(UsageError, match="was written with model None"):
        find_start(
            TrainingOptions.model_construct(resume=str(tmp_path / "checkpoint-0003-000000.pt"), checkpoint_dir=None),
            make_config(epochs=9),
            make_place(),
        )


def test_a_restarted_run_does_not_pass_over_the_checkpoints_of_another_training(written):
    """It would begin anew in their folder, and delete them."""
    options = TrainingOptions.model_construct(resume="auto", checkpoint_dir=written)
    restarted = make_place()
    restarted.world.restarts = 1
    theirs = torch.load(sorted(written.iterdir())[-1], weights_only=True)["config"]
    same = make_config(**theirs, epochs=1)  # which all of them have behind them
    assert find_start(options, same, restarted).state is None
    with pytest.raises(UsageError, match=r"was written by .* with seed 0, this run has 9"):
        find_start(options, same.model_copy(update={"seed": 9}), restarted)


def test_a_checkpoint_names_its_run(written, tmp_path):
    (record,) = records_in(written.parent)
    assert {torch.load(path, weights_only=True)["run_id"] for path in written.iterdir()} == {record["run_id"]}
    process = train(SINGLE, written, "--resume", "auto", "--epochs", 3, "--seed", 7, results=tmp_path)
    assert f"was written by {record['run_id']} with seed 0" in process.stderr


def test_a_run_that_is_given_a_file_trains_with_its_own_rate(written, tmp_path):
    newest = sorted(written.iterdir())[-1]
    process = train(SINGLE, tmp_path / "new", "--epochs", 3, "--resume", newest, "--lr", "0.5", results=tmp_path)
    assert process.returncode == 0, process.stderr
    (path,) = (tmp_path / "new").iterdir()
    assert torch.load(path, weights_only=True)["optimizer"]["param_groups"][0]["lr"] == 0.5


def test_a_checkpoint_without_the_newer_fields_is_still_loaded(written, tmp_path):
    state = torch.load(sorted(written.iterdir())[-1], weights_only=True)
    del state["run_id"]
    for name in ("learning_rate", "momentum", "weight_decay"):
        del state["config"][name]
    (tmp_path / "old").mkdir()
    torch.save(state, tmp_path / "old" / "checkpoint-0003-000000.pt")
    process = train(SINGLE, tmp_path / "old", "--epochs", 3, "--resume", "auto", results=tmp_path)
    assert process.returncode == 0, process.stderr


def test_two_runs_at_once_cannot_share_a_folder(tmp_path):
    """The first is in its first step while the second one is tried; it is told nothing of that, and ends as usual."""
    folder = tmp_path / "checkpoints"
    arguments = [*SMALL, "--batch-size", "16", "--checkpoint-dir", str(folder), "--results-dir", str(tmp_path / "two")]
    code = f"""
import subprocess, sys, os
usual, done = train_step, []
def during(training, batches, *more):
    if more:
        return usual(training, batches, *more)
    if not done:
        done.append(1)
        if not os.fork():
            sys.argv[1:] = {[*arguments, "--resume", "auto"]!r}
            import runpy
            try:
                runpy.run_path({str(ROOT / SINGLE)!r}, run_name="__main__")
            except SystemExit as end:
                os._exit(end.code or 0)
        done.append(os.waitstatus_to_exitcode(os.wait()[1]))
        assert done[-1] == 2, done
    return usual(training, batches)
train_step = during
"""
    process = run_script(planted(tmp_path, SINGLE, code), *arguments[:-1], tmp_path / "one")
    assert process.returncode == 0, process.stderr
    (record,) = records_in(tmp_path / "one")
    assert records_in(tmp_path / "two") == []
    assert f"error: --checkpoint-dir {folder} is in use by {record['run_id']} (process " in process.stderr
    assert process.stderr.count("\n") == 1
    assert sorted(os.listdir(folder)) == ["checkpoint-0002-000000.pt", "checkpoint-0003-000000.pt"]


def test_a_run_that_was_killed_holds_no_folder(tmp_path):
    code = """
import os, signal
usual, done = train_step, []
def dying(training, batches, *more):
    if more:
        return usual(training, batches, *more)
    done.append(1)
    if len(done) == 6:  # of four steps in an epoch
        os.kill(os.getpid(), signal.SIGKILL)
    return usual(training, batches)
train_step = dying
"""
    folder = tmp_path / "checkpoints"
    arguments = [*LEARNING, "--batch-size", 16, "--uncounted-steps", 1, "--checkpoint-dir", folder]
    killed = run_script(planted(tmp_path, SINGLE, code), *arguments, "--results-dir", tmp_path)
    assert killed.returncode != 0
    assert ".in-use" in os.listdir(folder)
    process = train(SINGLE, folder, "--resume", "auto", results=tmp_path)
    assert process.returncode == 0, process.stderr
    assert ".in-use" not in os.listdir(folder)
