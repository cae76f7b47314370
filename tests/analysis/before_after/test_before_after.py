"""Two folders of records, before and after: what is matched, what is said of it, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analysis.factories import in_rounds, make_record, typical_lab, write
from analysis.views import said
from common.analysis.before_after.before_after_section import before_after_section, limit_lines
from common.analysis.before_after.side_by_side import BeforeAfter, compare_folders
from common.analysis.reading.folder import Folder
from common.analysis.reading.runs import summarise
from common.errors import UsageError
from common.records import DdpOptions, Launch, Parity

NAMES = (Path("old"), Path("new"))
WRONG = Parity(outcome="failed", max_relative_error=1.0, tolerance=1e-4, samples=8, shards=2, seconds=0.1)


def folder(*records) -> Folder:
    return Folder(runs=[summarise(f"{record.run_id}.json", record) for record in records])


def compared(before, after) -> BeforeAfter:
    return compare_folders(folder(*before), folder(*after), NAMES)


def ddp(seconds=0.6, **changes):
    return make_record("ddp", 2, seconds, **changes)


def test_what_two_environments_may_differ_in_is_named_and_not_pooled():
    before = {"torch": "2.6.0", "driver": "550.1", "hostname": "old"}
    after = {"torch": "2.13.0", "driver": "580.2", "hostname": "new"}
    found = compared(
        in_rounds(ddp(environment=before)),
        in_rounds(ddp(0.75, environment=after, epochs=3, world={"device_model": "Other GPU"})),
    )
    (match,) = found.matches
    assert (len(match.before.runs), len(match.after.runs)) == (3, 3)
    assert match.quotient.value == pytest.approx(0.8, rel=0.01)
    assert match.differences == {
        "torch": ("2.6.0", "2.13.0"), "driver": ("550.1", "580.2"), "machine": ("old", "new"), "epochs": (2, 3),
        "device_model": ("Example CPU", "Other GPU"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "other",
    [
        ddp(config={"model": "resnet50"}), ddp(config={"precision": "bf16"}), ddp(per_device_batch=32),
        make_record("dp", 2), make_record("ddp", 4, world={"oversubscribed": False}), ddp(world={"nodes": 2}),
        ddp(config={"ddp": DdpOptions(one_bucket=True)}), ddp(kind="cuda"), ddp(config={"compile": True}),
    ],
)  # fmt: skip
def test_other_work_is_no_match(other):
    found = compared([ddp(), make_record()], [other, make_record()])
    assert [match.after.method for match in found.matches] == ["single"]
    assert [len(found.not_compared[reason]) for reason in ("only_before", "only_after")] == [1, 1]


def test_of_several_that_fit_those_that_differ_least_are_a_pair():
    workers = [ddp(config={"loader_workers": count}) for count in (0, 4, 8)]
    found = compared(workers, [ddp(config={"loader_workers": count}) for count in (16, 8, 4)])
    pairs = {tuple(row.record.config.loader_workers for row in (one.before, one.after)) for one in found.matches}
    assert pairs == {(0, 16), (8, 8), (4, 4)}


def test_a_run_that_stands_in_both_counts_before_alone():
    old = in_rounds(ddp())
    found = compared(old, [*old, *in_rounds(ddp(0.9))])
    assert (len(found.matches[0].after.runs), found.repeated) == (3, 3)


def test_a_wrong_gradient_is_not_compared_and_named():
    found = compared([ddp(), make_record()], [ddp(parity=WRONG), make_record()])
    assert [row.method for row in found.not_compared["withheld"]] == ["ddp"]
    (line,) = [line for line in said(before_after_section(found, *NAMES).brief) if "self-check" in line]
    assert "DDP × 2" in line


def test_nothing_in_common_says_what_keeps_them_apart():
    with pytest.raises(UsageError, match=r"old and new \(the closest two differ in precision ieee-fp32 and bf16\)"):
        compared([ddp()], [ddp(config={"precision": "bf16"})])


def test_runs_in_turn_are_pairs():
    """The machine's pace changes by a third from round to round; that of the two sides by 3 %."""
    sides = [], []
    for pace in (1.0, 1.4, 0.8, 1.2):
        for side, seconds in zip(sides, (0.5, 0.515), strict=True):
            side.append(ddp(seconds * pace))
    (match,) = compared(*sides).matches
    assert (match.effect.outcome, match.quotient.degrees_of_freedom) == ("slower", 3)
    (match,) = compared(sides[0], [record.model_copy(update={"started_at": "2026-02-01T00:00:00+00:00"})
                                   for record in sides[1]]).matches  # fmt: skip
    assert match.effect.outcome == "uncertain"
    assert match.needed is None


def test_where_paired_the_pairs_are_what_counts():
    """Ten runs on each side, of which four rounds ran both: what is needed is pairs, and four are too few."""
    sides = []
    for seconds, paces in ((0.5, (1.0, 1.02, 0.99, 1.01)), (0.51, (1.02, 1.0, 1.0, 0.99))):
        runs = [ddp(seconds * paces[number % 4]) for number in range(10)]
        places = [number + 1 + 10 * (number >= 4 and seconds == 0.51) for number in range(10)]
        sides.append([in_round(run, place) for run, place in zip(runs, places, strict=True)])
    found = compared(*sides)
    (match,) = found.matches
    assert (match.quotient.degrees_of_freedom, len(match.pairs)) == (3, 4)
    assert 4 < match.needed <= 10
    assert match.outcome_at(1.0) == "undecided"
    assert said(limit_lines(found, 1.0)[1])[0].endswith(f"takes {match.needed} rounds in all")


def in_round(record, place):
    return record.model_copy(update={"launch": Launch(campaign="lab", id="one", seed=0, round=place, place=1)})


def test_too_few_runs_say_how_many_are_needed_and_are_not_decided():
    found = compared([ddp(), ddp()], [ddp(1.2), ddp(1.2)])
    below, others = limit_lines(found, 0.95)
    assert below == []
    assert "3 runs on each side are the least" in said(others)[0]
    noisy = compared(in_rounds(ddp(), scatter=0.05), in_rounds(ddp(0.62), scatter=0.05))
    below, others = limit_lines(noisy, 0.95)
    assert below == []
    assert f"takes {noisy.matches[0].needed} runs on each side in all" in said(others)[0]


def test_missing_or_withheld_after_fails_the_limit():
    before, after = in_rounds(*typical_lab()), in_rounds(make_record())
    found = compared(
        before, [*after, ddp(parity=WRONG), make_record("ddp", 2, parity=WRONG, config={"model": "vgg11"})]
    )
    below, _ = limit_lines(found, 0.95)
    missing, withheld = said(below)
    assert missing.startswith("missing after: DP × 2, resnet18")
    assert withheld == (
        "withheld after: a self-check does not let the speed of DDP × 2 (not valid), resnet18, 64 px, "
        "ieee-fp32, 16 samples per device stand"
    )
    assert limit_lines(compared(before, in_rounds(*typical_lab())), 0.8)[0] == []


def test_one_wrong_run_beside_right_ones_fails_the_limit():
    found = compared(in_rounds(ddp()), [*in_rounds(ddp()), ddp(parity=WRONG)])
    (line,) = said(limit_lines(found, 0.8)[0])
    assert line.startswith("withheld after")


def test_no_speed_left_after_is_compared_all_the_same(tmp_path, compare):
    before = write(tmp_path / "before", ddp())
    after = write(tmp_path / "after", ddp(parity=WRONG))
    done = compare(after, "--against", before, "--fail-below", 0.8)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "withheld after: " in done.stderr
    assert "Nothing that records name differs" not in done.stdout


def test_all_runs_of_after_are_in_before_too():
    old = in_rounds(ddp())
    with pytest.raises(UsageError, match=r"^old holds all that new has \(2 runs\): "):
        compared(old, old[1:])


def test_console_page_csv_and_exit_code(tmp_path, compare):
    before = write(tmp_path / "before", *in_rounds(*typical_lab(environment={"torch": "2.6.0"})))
    slower = [make_record("dp", 2, 0.80, seed=2), ddp(0.70, seed=3), ddp(config={"model": "vgg11"})]
    after = write(tmp_path / "after", *in_rounds(*slower))
    done = compare(after, "--against", before, "--fail-below", 0.95)
    shown = " ".join(done.stdout.split())
    assert done.returncode == 1
    assert "below 0.95: DDP × 2, resnet18, 64 px, ieee-fp32, 16 samples per device is 0.86 times as fast" in done.stderr
    assert "torch: 2.6.0 → 2.13.0" in shown
    assert "Only before: One device, resnet18, 64 px, ieee-fp32, 16 samples per device." in shown
    assert "Only after: DDP × 2, vgg11" in shown
    assert "not shown to be below 0.95: 1 of the configurations compared" in shown
    page = (tmp_path / "report.html").read_text()
    assert page.index('id="before-after"') < page.index("The same configurations, before and after")
    lines = pd.read_csv(after / "against.csv").set_index("row")
    assert lines.loc["ddp x2", "times_as_fast_high"] < 0.95 < lines.loc["dp x2", "times_as_fast_low"]
    assert lines.loc["ddp x2", "differences"] == "torch: 2.6.0 -> 2.13.0"
    quiet = compare(after, "--against", before, "--fail-below", 0.95, "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (1, "", done.stderr)
    missing = compare(after, "--against", before, "--fail-below", 0.8)
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert "missing after: One device, resnet18" in missing.stderr
    write(after, *in_rounds(make_record(seed=1)))
    assert compare(after, "--against", before, "--fail-below", 0.8).returncode == 0
    assert compare(after).returncode == 0
    assert not (after / "against.csv").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--fail-below", "0.95"], "needs --against"),
        (["--against", "nowhere"], "cannot read --against nowhere"),
        (["--against", "after"], "is --results-dir itself"),
        (["--against", "before", "--fail-below", "95"], "no percentage"),
        (["--against", "empty"], "no run records in empty: run"),
        (["--against", "broken"], "no run records in broken (1 file skipped; x.json: "),
    ],
)
def test_bad_input_is_one_line(tmp_path, run_comparison, flags, words):
    write(tmp_path / "after", make_record())
    write(tmp_path / "before", make_record())
    write(tmp_path / "empty")
    write(tmp_path / "broken")
    (tmp_path / "broken" / "x.json").touch()
    done = run_comparison("--results-dir", "after", *flags)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert words in done.stderr
