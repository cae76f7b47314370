"""What runs were started for: a campaign's rounds are pairs, and more runs for another purpose move no headline."""

from __future__ import annotations

import random

import pytest

from analysis.factories import make_record
from analysis.views import WORDS, fact, folder_of, groups_of, rows_of, said
from common.analysis.comparing.csv_files import table_of
from common.analysis.comparing.groups import compare_runs
from common.analysis.comparing.one_change import change_line, one_changes
from common.analysis.comparing.speedup import paired_runs
from common.analysis.judging.verdicts import decide
from common.analysis.sections.headline import headline
from common.records import DdpOptions, Launch

SECONDS = {"single": 0.5, "dp": 0.8, "ddp": 0.6}
DEVICES = {"single": 1, "dp": 2, "ddp": 2}


def run(method, pace=1.0, launch=None, **options):
    return make_record(method, DEVICES[method], SECONDS[method] * pace, launch=launch, **options)


def in_rounds(*paces, id="first", campaign="lab", methods=tuple(SECONDS), **options):
    """Rounds of a campaign, each in an order of its own, on a machine whose pace changes."""
    records, order = [], random.Random(1)
    for number, pace in enumerate(paces, 1):
        for place, method in enumerate(order.sample(methods, len(methods)), 1):
            launch = Launch(campaign=campaign, id=id, seed=1, round=number, place=place)
            records.append(run(method, pace, launch, seed=1, **options))
    return records


def outcome_of(*records):
    groups = groups_of(*records)
    return WORDS.text(headline(groups, decide(groups[0].representatives)).outcome)


def test_rounds_are_pairs_in_whatever_order_they_ran():
    rows = rows_of(*in_rounds(1.0, 1.5, 0.7, 1.2))
    speed_up = rows["DDP × 2"].speed_up
    assert speed_up.value == pytest.approx(2 * 0.5 / 0.6, rel=0.01)
    assert speed_up.relative_error < 0.01 < 0.1 < rows["DDP × 2"].throughput.relative_error


def test_a_round_in_which_one_is_missing_is_no_pair():
    """By time alone the second run of one device would meet DDP's third, at another pace."""
    records = in_rounds(1.0, 1.5, 0.7, 1.2)
    records = [one for one in records if (one.method, one.launch.round) not in {("ddp", 2), ("dp", 1), ("dp", 3)}]
    rows = rows_of(*records)
    pairs = paired_runs(rows["DDP × 2"].runs, rows["One device"].runs)
    assert [[one.record.launch.round for one in pair] for pair in pairs] == [[1, 1], [3, 3], [4, 4]]
    assert rows["DDP × 2"].speed_up.relative_error < 0.01
    assert paired_runs(rows["DP × 2"].runs, rows["One device"].runs) == []  # two rounds say nothing of how pairs differ
    assert rows["DP × 2"].speed_up.interval is None


def test_rounds_of_one_number_in_two_starts_are_two_rounds():
    rows = rows_of(*in_rounds(1.0, 1.5), *in_rounds(0.7, 1.2, id="second"))
    assert [len(row.runs) for row in rows.values()] == [4, 4, 4]
    assert len(paired_runs(rows["DDP × 2"].runs, rows["One device"].runs)) == 4


def test_more_runs_for_a_checkpoint_do_not_move_the_headline():
    lab = in_rounds(1.0, 1.1, 0.9)
    alike = [run("single", 0.5, seed=seed) for seed in range(3)]
    other = [run("single", 0.4, seed=seed, config={"memory_format": "channels_last"}) for seed in range(3)]
    assert outcome_of(*lab, *alike, *other) == outcome_of(*lab)
    assert outcome_of(*lab, *(run("dp", 0.5, seed=seed) for seed in range(3))) == outcome_of(*lab)
    table = table_of(map(change_line, one_changes(compare_runs(folder_of(*lab, *alike, *other)).configurations)))
    (line,) = table[table["fact"] == "memory_format"].to_dict("records")
    assert line["times_as_fast"] == pytest.approx(0.5 / 0.4, rel=0.02)
    assert line["files_before"].split() == [f"{record.run_id}.json" for record in alike]


def test_a_campaign_with_another_purpose_does_not_either():
    lab = in_rounds(1.0, 1.1, 0.9)
    crossover = in_rounds(0.8, 0.9, 0.7, campaign="crossover", per_device_batch=32)
    by_hand = [run(method, 0.7, config={"precision": "bf16"}) for _ in range(3) for method in SECONDS]
    assert outcome_of(*lab, *crossover, *by_hand) == outcome_of(*lab)
    assert outcome_of(*crossover) != outcome_of(*lab)


def test_the_purpose_tells_rows_apart_and_is_said():
    rows = rows_of(*in_rounds(1.0, 1.1, 0.9), run("single"), run("single", loader_runs_on=False))
    named = {label: said(list(row.variant.values())) for label, row in rows.items() if row.variant}
    assert named == {
        "One device (a)": ["lab"], "One device (b)": ["by_hand"], "One device (c)": ["unknown"],
    }  # fmt: skip
    facts = [fact("campaign", row.variant["campaign"]) for row in rows.values() if row.variant]
    assert facts[:2] == [("started", "by make lab"), ("started", "by hand")]


def test_an_option_that_was_tried_by_hand_is_compared_with_the_labs_default():
    tried = run("ddp", 0.9, config={"ddp": DdpOptions(one_bucket=True)})
    rows = rows_of(*in_rounds(1.0, 1.1, 0.9), tried)
    assert rows["DDP × 2 with --one-bucket"].default_options_row is rows["DDP × 2"]


def test_of_several_default_rows_it_is_compared_with_the_one_that_began_last():
    first, again = in_rounds(1.0, 1.1, methods=("ddp",))
    (between,) = in_rounds(1.0, campaign="sweep", methods=("ddp",))
    tried = run("ddp", 0.9, config={"ddp": DdpOptions(one_bucket=True)})
    began = sorted(record.started_at for record in (first, again, between))
    records = [record.model_copy(update={"started_at": at})
               for record, at in zip((first, between, again), began, strict=True)]  # fmt: skip
    (row,) = [row for row in rows_of(*records, tried).values() if row.options]
    assert row.default_options_row.facts["campaign"] == "sweep"


def test_two_rows_of_one_option_do_not_share_a_name():
    option = {"ddp": DdpOptions(one_bucket=True)}
    sweep = [*in_rounds(1.0, campaign="sweep", methods=("ddp",)),
             *in_rounds(1.0, campaign="sweep", methods=("ddp",), config=option)]  # fmt: skip
    rows = rows_of(*sweep, run("ddp", config=option))
    assert len(rows) == 3
