"""The breakdown of lost milliseconds: it adds up, and its verdict follows the numbers."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

import pytest

from analysis.factories import in_rounds, make_record
from analysis.judging.test_reasons import lab_with_kinds
from analysis.profile_factories import make_profile, make_rank, wobbling
from analysis.views import groups_of, outcome, said
from common.analysis.comparing.groups import compare_runs
from common.analysis.judging.breakdown import breakdowns
from common.analysis.judging.reasons import sentence_of
from common.analysis.reading.folder import read_folder

EXAMPLES = Path(__file__).parents[3] / "results" / "examples"


def breakdowns_of(folder: str | Path, group: int = 0):
    found = read_folder(EXAMPLES / folder)
    return breakdowns(compare_runs(found).groups[group])


@pytest.mark.parametrize("group", [0, 1])
def test_ideal_and_items_add_up_to_the_measured_step(group):
    both = breakdowns_of("h100x2", group)
    assert [one.row.method for one in both] == ["dp", "ddp"]
    for one in both:
        assert one.ideal.value + sum(cost.value for cost in one.items.values()) == pytest.approx(one.measured.value)
        assert list(one.items)[-1] == "residual"


def test_strong_scaling_has_the_smaller_batch_in_it():
    ddp = breakdowns_of("h100x2", 1)[1]
    assert 0.003 < ddp.items["smaller_batch"].value < 0.012  # half the images need more than half the time


def test_two_h100s_lose_to_the_host_and_not_to_the_bytes():
    dp, ddp = said([sentence_of(one) for one in breakdowns_of("h100x2-lab")])
    assert dp.startswith("DP × 2 takes 123 ms for a step of 128 images; ideal for 2 devices: ")
    assert "new threads 61.7 ms (54.9–66.9 ms), new replicas 14.8 ms" in dp
    assert dp.endswith(
        "More than half of that is threads and replicas; the data alone would need 0.608 ms over the link that step 01 "
        "measured."
    )
    assert "exchange and wrapper 1.33 ms" in ddp  # an older record does not tell the two apart


def test_on_cores_no_host_is_blamed():
    dp = said([sentence_of(one) for one in breakdowns_of("cpu")])[0]
    assert dp.endswith("On CPU cores, launch and work are the same thread.")


def test_what_no_experiment_explains_is_named():
    (group,) = groups_of(*lab_with_kinds(kept_threads=120, kept_replicas=120))
    dp = next(one for one in breakdowns(group) if one.row.method == "dp")
    by_id = {id: cost.value for id, cost in dp.items.items()}
    assert not {"new_threads", "new_replicas"} & set(by_id)  # they may be nothing
    assert by_id["residual"] == pytest.approx(dp.lost - by_id["copies"] - by_id["slowed"], abs=1e-3)


@pytest.mark.parametrize(("share", "outcome_of_it"), [(1.0, "passed"), (1.29, "warning"), (0.9, "warning")])
def test_steps_apart_that_are_not_the_measured_ones_are_called_that(share, outcome_of_it):
    record = make_record("ddp", 2, 0.4)
    record.anatomy = make_profile("ddp", *(make_rank("ddp", rank) for rank in range(2)))
    for rank in record.anatomy.ranks:
        rank.step_seconds = [share * seconds for seconds in wobbling(1000 * median(record.ranks[0].step_seconds), 9)]
    assert outcome(record, "profile") == outcome_of_it


def test_what_kept_threads_and_replicas_leave_has_no_causes_name():
    dp = said([sentence_of(breakdowns_of("h200x4")[0])])[0]
    assert "; residual (unexplained) 21.3 ms (5.78–36.1 ms)" in dp
    assert "launch" not in dp
    assert "More than half of that is threads and replicas" in dp


def test_a_smaller_batch_is_an_item_of_its_own(tmp_path):
    """The same records, had one device taken the whole batch in one."""
    for path in (EXAMPLES / "h200x4").glob("*.json"):
        record = json.loads(path.read_text())
        if record.get("method") == "single":
            record["config"] |= {"per_device_batch_size": 256, "global_batch_size": 256}
            for epoch in record["epochs"]:
                epoch["steps"] //= 4
            for rank in record["ranks"]:
                for name in ("step_seconds", "data_wait_seconds"):
                    rank[name] = [sum(rank[name][at : at + 4]) for at in range(0, len(rank[name]), 4)]
        (tmp_path / path.name).write_text(json.dumps(record))
    dp = next(one for one in breakdowns_of(tmp_path) if one.row.method == "dp")
    by_id = {id: cost.value for id, cost in dp.items.items()}
    assert by_id["smaller_batch"] != 0
    assert dp.ideal.value + sum(by_id.values()) == pytest.approx(dp.measured.value)


def test_with_large_batches_less_is_lost_than_costs_add_up_to():
    dp = breakdowns_of("h200x2-batch256")[0]
    assert dp.ideal.value + sum(cost.value for cost in dp.items.values()) == pytest.approx(dp.measured.value)
    assert (
        "; residual (unexplained) −39.2 ms (−45.4 to −22.6 ms). These costs were measured on steps that begin with "
        "idle devices" in said([sentence_of(dp)])[0]
    )


def test_over_a_slow_link_it_is_the_bytes(tmp_path):
    """The same records, had step 01 measured 4 GB/s between the GPUs."""
    for path in (EXAMPLES / "h100x2-ledger").glob("*.json"):
        record = json.loads(path.read_text())
        for copy in (record.get("probes") or {}).get("copies", ()):
            copy["seconds"] = copy["bytes"] / 4e9
        (tmp_path / path.name).write_text(json.dumps(record))
    dp = said([sentence_of(one) for one in breakdowns_of(tmp_path)])[0]
    assert "The data moved is the reason: it needs 53.6 ms over the link" in dp


def test_without_an_interval_nobody_says_that_nothing_is_lost():
    (group,) = groups_of(*lab_with_kinds())
    dp = next(one for one in breakdowns(group) if one.row.method == "dp")
    assert dp.row.speed_up.interval is None
    assert sentence_of(dp).text == "breakdown.lost"


@pytest.mark.parametrize(("scatter", "id"), [(0.002, "nothing_lost"), (0.1, "uncertain")])
def test_that_nothing_is_lost_is_said_by_a_narrow_interval_alone(scatter, id):
    alike = make_record(noise=0.0), make_record("ddp", 2, noise=0.0, anatomy=make_profile("ddp"))
    (one,) = breakdowns(groups_of(*in_rounds(*alike, scatter=scatter))[0])
    assert sentence_of(one).text == f"breakdown.{id}"
