"""Why, in a sentence for each method: from the breakdowns, from experiments alone, or from the phase that grew."""

from dataclasses import replace
from pathlib import Path

import pytest

from analysis.factories import in_rounds, make_record
from analysis.profile_factories import make_profile, make_rank, replicated_steps
from analysis.views import groups_of, said
from common.analysis.judging.breakdown import breakdowns
from common.analysis.judging.why import repeats_planning, why
from common.analysis.reading.folder import read_folder
from common.analysis.sections.answer import answer_of
from common.analysis.sections.report import build_report
from common.analysis.statistics.medians import Median
from common.formats import FORMATS

EXAMPLES = Path(__file__).parents[3] / "results" / "examples"


def why_of(example):
    return said(build_report(read_folder(EXAMPLES / example)).answer.why)


@pytest.mark.parametrize(
    ("example", "words"),
    [
        ("h100x2-lab",
         "DP takes 123 ms: new threads in every step, each of which repeats cuDNN's planning (61.7 ms);"
         " new copies of the model in every step (14.8 ms)"),
        ("h200x4", "; residual: 21.3 ms, which no experiment explains"),
        ("h200x2-batch256", "training, where the device is idle for only 1 % of a step"),
        ("h100x2", "DP takes 121 ms: 82.7 ms in the forward pass (one device: 12.6 ms)"),
        ("cpu", "DP takes 394 ms: new copies of the model in every step (18.5 ms); batch and gradients that "),
    ],
)  # fmt: skip
def test_what_dataparallel_loses_its_time_with(example, words):
    assert words in next(part for part in why_of(example) if part.startswith("DP takes"))


@pytest.mark.parametrize(
    ("example", "words"),
    [
        ("h200x4",
         "DDP's own work for it included (3.10 ms). These costs were measured on steps that begin with idle devices; "
         "less is lost in training, where the device is idle for only 5 % of a step"),
        ("h100x2-launch-bound",
         "DDP's own work for it included (5.95 ms); residual: 4.17 ms, which no experiment explains"),
        ("h100x2-no-peer",
         "DDP takes 39.6 ms: time waiting for gradients, DDP's own work for it included (1.65 ms)"),
    ],
)  # fmt: skip
def test_what_ddp_loses_its_time_with(example, words):
    assert next(part for part in why_of(example) if part.startswith("DDP takes")).endswith(words)


def test_the_exchange_and_the_wrapper_are_causes_of_their_own():
    ddp = make_record("ddp", 2, 0.6, anatomy=make_profile("ddp", make_rank("ddp", on=450, silent=400, off=350)))
    (group,) = groups_of(make_record("single", 1, 0.5), ddp)
    (part,) = [part for part in said(answer_of(group).why) if part.startswith("DDP takes")]
    assert "time waiting for gradients (50.0 ms)" in part
    assert "DDP's own work on the host, and copies into its buckets (50.0 ms)" in part


def test_an_exchange_that_makes_steps_shorter_is_no_cause():
    """Without one device there is no ideal; steps with an exchange were 30 ms shorter than those without."""
    ddp = make_record("ddp", 2, 0.4, anatomy=make_profile("ddp", make_rank("ddp", on=350, silent=380, off=380)))
    (group,) = groups_of(ddp)
    assert said(answer_of(group).why) == ["DDP takes 402 ms: waiting for gradients has no measurable cost"]


def test_a_late_host_is_said_of_ddp():
    sentence = why_of("h100x2-launch-bound")[0]
    assert sentence.startswith("DDP waits for the host to launch its work: its devices are idle for 42 % of")
    assert sentence.endswith("; sending the gradients alone needs 0.465 ms, as step 01 measured")
    assert not [part for part in why_of("h100x2-ledger") if "waits for the host" in part]


@pytest.mark.parametrize(
    ("example", "cost"),
    [
        (
            "h100x2-lab",
            "Its step takes 123 ms, 84.7 ms longer than the ideal: 61.7 ms for new threads, which costs more than "
            "sharing the batch saves; 14.8 ms for new copies of the model; 8.21 ms for the rest",
        ),
        (
            "h100x2-ledger",
            "Its step takes 79.7 ms, 41.9 ms longer than the ideal: 32.8 ms for new threads; 7.87 ms for new copies of "
            "the model; 1.28 ms for the rest",
        ),
        (
            "h200x4",
            "Its step takes 125 ms, 92.6 ms longer than the ideal: 44.0 ms for new threads; 21.0 ms for new copies of "
            "the model; 27.7 ms for the rest",
        ),
        ("h200-new-threads", "They cost 54.2 ms of its 90.5 ms a step"),
    ],
)
def test_the_main_reason_stands_first(example, cost):
    """Of the second one nobody knows whether DP is slower than one GPU; in the last one replicas shared a GPU."""
    assert why_of(example)[0] == (
        "DP starts new threads in every step, and in each of them cuDNN must plan the convolutions again. "
        f"{cost}. DDP keeps its threads"
    )


def on_gpus(single, dp, threads, replicas, **options):
    """Runs of one GPU and of DP on two, whose new threads and new replicas cost so many milliseconds of a step."""
    kinds = replicated_steps(400 + threads + replicas, 400 + threads, 400 + replicas, 400)
    profile = make_profile("dp", replicated_steps=kinds)
    records = [make_record("single", 1, single, kind="cuda"), make_record("dp", 2, dp, kind="cuda", anatomy=profile)]
    return groups_of(*in_rounds(*records), **options)[0]


@pytest.mark.parametrize(
    ("threads", "replicas", "is_named"), [(200, 20, True), (20, 200, False), (60, 20, False)]
)  # of 300 ms that a step loses
def test_new_threads_are_named_where_nothing_costs_more(threads, replicas, is_named):
    first = said(answer_of(on_gpus(0.4, 0.7, threads, replicas)).why)[0]
    assert ("200 ms for new threads" in first) is is_named


def test_costs_that_overlap_are_no_pieces_of_the_loss():
    """Of 300 ms: 200 and 45 leave a rest; 200 and 150 would be more than the whole, which the residual may be by
    chance."""
    group = on_gpus(0.4, 0.7, 200, 20)
    (breakdown,) = breakdowns(group)
    apart, overlapping = (
        said(why(group.representatives, [replace(breakdown, items={
            "new_threads": Median(0.2, 9, (0.19, 0.21)),
            "new_replicas": Median(copies, 9, (copies - 0.01, copies + 0.01)),
            "residual": Median(0.1 - copies, 9, (-0.2, 0.2)),
        })]))[0]
        for copies in (0.045, 0.15)
    )  # fmt: skip
    assert "200 ms for new threads; 45.0 ms for new copies of the model; 54.6 ms for the rest" in apart
    assert "200 ms for new threads" in overlapping
    assert "copies" not in overlapping


def test_cudnns_planning_is_named_for_models_whose_convolutions_pay():
    """One GPU's own experiment goes before step 01's, which knows no model: of vit_b_16 no convolution pays."""
    results = build_report(read_folder(EXAMPLES / "h200-new-threads")).groups
    rows = {part.group.key["model"]: row for part in results for row in part.group.rows if row.method == "dp"}
    assert {model: repeats_planning(row) for model, row in rows.items()} == {"resnet50": True, "vit_b_16": False}


def test_ddp_without_dp_beside_it_says_how_little_it_waits():
    ddp = make_record("ddp", 2, 0.6, anatomy=make_profile("ddp", make_rank("ddp", on=405, silent=400, off=395)))
    records = in_rounds(make_record("single", 1, 0.5), ddp)
    assert said(answer_of(groups_of(*records)[0]).why)[0].endswith(
        "waiting for gradients adds only 5.00 ms to a step of 604 ms"
    )


def test_one_device_has_nobody_to_share_with():
    alone = make_record(kind="cuda", environment={"gpus": [{"index": 0, "name": "Example GPU"}]})
    (why,) = said(answer_of(groups_of(alone)[0]).why)
    assert why == "DP and DDP share each batch among devices, and this machine has only one"


def test_work_that_the_host_does_ahead_is_no_loss():
    first = "The host prepares DP's next step while the GPUs still work, so DP loses little: they are idle for 1 % of"
    assert why_of("h200x2-batch256")[0].startswith(first)


def test_what_a_step_is():
    ideal = "A step trains 2 × 64 images. Ideally it takes as long as 64 images on one GPU: 38.4 ms"
    assert ideal in why_of("h100x2-lab")


def test_what_the_sums_and_the_tie_mean_is_said():
    sums, tie = (
        "The causes were measured one by one, so their sum can be",
        "DDP is 0.98 times as fast as DP, and the 95 % interval (0.89–1.09) contains 1: these runs do not show",
    )
    assert why_of("cpu")[-1].startswith(sums)
    assert not why_of("h100x2-lab")[-1].startswith(sums)
    assert why_of("cpu")[0].startswith(tie)


def test_under_strong_scaling_the_ideal_is_one_devices_time_divided():
    one, halves = make_record("single", 1, 0.4, per_device_batch=32), make_record("ddp", 2, 0.3, per_device_batch=16)
    halves.anatomy = make_profile("ddp")
    (group,) = groups_of(one, halves)
    why = said(answer_of(group).why)
    assert why[1].startswith("A step trains 32 images in all. Ideally it takes the time of one CPU core / 2: 200 ms")


def test_cores_that_slow_each_other_are_a_reason_of_their_own():
    """What DDP's steps without exchange take longer than one core's step, for both methods; 350 ms against 200."""
    records = [
        make_record("single", 1, 0.2),
        *(make_record(m, 2, 0.45, anatomy=make_profile(m)) for m in ("dp", "ddp")),
    ]
    (group,) = groups_of(*records)
    slowed = [breakdown.items["slowed"].value for breakdown in breakdowns(group)]
    assert slowed == pytest.approx([0.15, 0.15], rel=0.02)
    why = said(answer_of(group).why)
    (part,) = [part for part in why if "slow each other" in part]
    assert part.endswith(
        "on one CPU core: 200 ms. But CPU cores that work at the same time slow each other down (150 ms)"
    )
    on_gpus = [make_record("single", 1, 0.2, kind="cuda")]
    on_gpus += [make_record(m, 2, 0.45, kind="cuda", anatomy=make_profile(m)) for m in ("dp", "ddp")]
    (group,) = groups_of(*on_gpus)
    assert not [breakdown for breakdown in breakdowns(group) if "slowed" in breakdown.items]


@pytest.mark.parametrize("example", ["cpu", "h100x2", "h100x2-lab", "h100x2-ledger"])
def test_a_step_is_as_long_in_the_reason_as_in_the_breakdown(example):
    """Steps of experiments are others, and of another length; where they are shown it is said so (captions, hints)."""
    judged = build_report(read_folder(EXAMPLES / example))
    measured = {FORMATS["ms"](breakdown.measured.value) for breakdown in judged.groups[0].breakdowns}
    steps = {FORMATS["ms"](part.values["step"]) for part in judged.answer.why if "step" in part.values}
    assert steps
    assert steps <= measured


@pytest.mark.parametrize(
    ("example", "unsure"),
    [("h100x2-lab", []), ("h200x4", []), ("cpu", ["DP × 2 or DDP × 2"])],
)
def test_which_methods_could_change_places_without_what_the_marks_name(example, unsure):
    """h200x4: nothing waits for data once epochs' first steps are left out. cpu: DP and DDP tie."""
    assert said(build_report(read_folder(EXAMPLES / example)).answer.unsure) == unsure


def test_a_mark_of_unknown_size_leaves_the_order_open():
    records = [make_record("single", 1, 0.2), make_record("ddp", 2, 0.22)]
    for load, unsure in ((0.2, []), (5.0, ["DDP × 2 or one CPU core"])):
        records[0].environment.load_average_1min = load
        (group,) = groups_of(*in_rounds(*records))
        assert said(answer_of(group).unsure) == unsure
