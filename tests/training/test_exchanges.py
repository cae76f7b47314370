"""The exchanges that are built by hand: torch's gradients, by other ways."""

import json

import pytest
from conftest import SMALL, environment, records_in, run_script, run_worker

from common.records import DdpOptions
from common.training.distributed import ddp_kwargs

DDP = "04_ddp_training.py"
BY_HAND = ("per-parameter", "flat", "overlapped")


def test_each_gives_torchs_weights_with_its_own_all_reduces():
    """One batch, and two micro-batches of which the first is not exchanged."""
    process = run_worker("exchange_calls.py", ranks=2)
    assert process.returncode == 0, process.stderr
    exchanges = json.loads(process.stdout.splitlines()[-1])
    assert list(exchanges) == list(BY_HAND)
    for name, exchange in exchanges.items():
        assert max(exchange["differences"]) < 1e-6, name
    parameters = exchanges["flat"]["parameters"]
    one_batch, two = zip(*(exchanges[name]["began"] for name in BY_HAND), strict=True)
    assert one_batch[:2] == ([parameters] * parameters, [parameters])
    first, *_, last = one_batch[2]
    assert first < last == parameters
    assert list(map(len, two)) == list(map(len, one_batch))


def test_they_train_in_step_04_and_say_so(tmp_path):
    for exchange in ("ddp", *BY_HAND):
        more = ["--epochs", 1, "--batch-size", 8, "--accumulation-steps", 2, "--anatomy-steps", 1]
        process = run_script(DDP, *SMALL, *more, "--exchange", exchange, "--results-dir", tmp_path, ranks=2)
        assert process.returncode == 0, process.stderr
        assert (f"exchange {exchange}" in process.stdout) == (exchange != "ddp")
    records = {record["config"]["ddp"]["exchange"]: record for record in records_in(tmp_path)}
    assert set(records) == {"ddp", *BY_HAND}
    for record in records.values():
        assert (record["parity"]["outcome"], record["parity"]["shards"]) == ("passed", 2)
        assert record["epochs"][0]["mean_loss"] == pytest.approx(records["ddp"]["epochs"][0]["mean_loss"], rel=1e-3)
        rank = record["anatomy"]["ranks"][0]
        assert rank["phases"]["exchange"]
        assert len(rank["exchange_on_seconds"]) == len(rank["exchange_off_seconds"]) == 1
        assert record["anatomy"]["bytes_moved"] == records["ddp"]["anatomy"]["bytes_moved"]


def test_the_lesson_is_marked_wrong_as_long_as_nothing_is_filled_in(tmp_path):
    process = run_script(DDP, *SMALL, "--batch-size", 8, "--exchange", "mine", "--results-dir", tmp_path, ranks=2)
    assert process.returncode == 0, process.stderr
    assert "parity: FAILED" in process.stdout
    (record,) = records_in(tmp_path)
    assert (record["config"]["ddp"]["exchange"], record["parity"]["outcome"]) == ("mine", "failed")


def test_every_option_of_ddp_reaches_torch_or_is_one_of_those_that_act_elsewhere():
    usual, elsewhere = DdpOptions(), {"exchange", "sync_bn", "comm_hook", "timeout_seconds"}
    before, changed = ddp_kwargs(usual), {"bucket_cap_mb": 7.0}
    for name in DdpOptions.model_fields.keys() - elsewhere:
        options = usual.model_copy(update={name: changed.get(name, getattr(usual, name) is False)})
        assert ddp_kwargs(options) != before, name


@pytest.mark.parametrize("option", [["--one-bucket"], ["--comm-hook", "fp16"], ["--compile"], ["--static-graph"]])
def test_torchs_options_are_refused_in_one_line(tmp_path, option):
    rank = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    rank |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    arguments = ["--batch-size", 16, "--exchange", "flat", *option, "--results-dir", tmp_path]
    process = run_script(DDP, *arguments, env=environment(**rank))
    assert process.returncode == 2
    assert process.stderr.startswith("error: --exchange flat ")
    assert process.stderr.count("\n") == 1
    assert option[0] in process.stderr
    assert records_in(tmp_path) == []
