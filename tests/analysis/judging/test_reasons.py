"""The reasons in words, what the wrapper costs, and what the page shows of them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from analysis.comparing.test_energy import make as drawing
from analysis.factories import in_rounds, make_record, typical_lab, write
from analysis.profile_factories import PHASES, make_probed, make_probes, make_profile, make_rank, profiled_lab, wobbling
from analysis.views import groups_of, label, said
from common.analysis.comparing.groups import compare_runs
from common.analysis.comparing.utilisation import bound, phase_rate
from common.analysis.judging.proposals import wrapper_commands
from common.analysis.judging.reasons import reasons, thread_cost
from common.analysis.judging.verdicts import wrapper_costs
from common.analysis.page.charts import PHASE_COLOURS
from common.analysis.reading.folder import read_folder
from common.analysis.sections.report import build_report
from common.records import Failure

ROOT = Path(__file__).parents[3]


def reasons_of(*records):
    (group,) = groups_of(*records)
    return said(reasons(group))


def test_the_largest_difference_is_said_with_its_number():
    first, *_ = reasons_of(*profiled_lab())
    assert first.startswith("DP × 2 spends 60.0 ms a step copying the model to its replicas (60.0 MB, 1.00 GB/s)")
    assert first.endswith("(DDP × 2: nothing).")


def test_no_rate_where_nothing_moves_between_devices():
    lab = profiled_lab()
    rows = {label(row): row for row in groups_of(*lab)[0].rows}
    assert phase_rate(rows["DP × 2"], "replicate") == pytest.approx(60e6 / 0.060)
    assert phase_rate(rows["DDP × 2"], "exchange") is None
    assert phase_rate(rows["DP × 2"], "forward") is None
    lab[1].world.shared = True
    rows = {label(row): row for row in groups_of(*lab)[0].rows}
    assert phase_rate(rows["DP × 2"], "replicate") is None


def test_the_difference_may_be_ddps():
    lab = profiled_lab()
    lab[2].anatomy = make_profile("ddp", make_rank("ddp", backward=400))
    assert reasons_of(*lab)[0] == "DDP × 2 spends 400 ms a step in the backward pass (DP × 2: 220 ms)."


def test_what_the_scatter_explains_is_no_difference():
    lab = profiled_lab()
    noisy = make_rank("ddp")
    noisy.phases = {name: [0.01, 0.02, 0.03, 5.0, 6.0, 7.0] for name in PHASES["dp"]}
    lab[2].anatomy, lab[1].anatomy = make_profile("ddp", noisy), make_profile("dp", noisy)
    assert reasons_of(*lab)[0].startswith("No phase of DP × 2 and DDP × 2 differs by more than its scatter")


def test_too_few_steps_are_said_to_be_too_few():
    few = [make_record(method, 2, anatomy=make_profile(method, steps=5)) for method in ("dp", "ddp")]
    sentences = reasons_of(*few)
    assert sentences[0].startswith("5 steps timed phase by phase are too few")
    assert any("no interval: 5 steps, and it needs 6" in text for text in sentences)


def test_exposed_communication_in_words():
    """Of rows that have no breakdown, for want of one device."""
    dp = reasons_of(profiled_lab()[1])[-1]
    assert dp.startswith("Moving model, batch and gradients between devices adds 105 ms (23 %) to a step of DP × 2")
    (ddp,) = reasons_of(profiled_lab()[2])
    assert ddp.startswith(
        "The exchange of gradients, with what DDP itself does for it, adds 30.0 ms (8 %) to a step of DDP × 2 "
        "(95 % interval 29.7–30.3 ms,"
    )


def test_the_exchange_is_told_from_the_wrappers_own_work():
    rank = make_rank("ddp", on=380, silent=360, off=350)
    exchange, wrapper = reasons_of(make_record("ddp", 2, anatomy=make_profile("ddp", rank)))
    assert exchange.startswith("The exchange of gradients adds 20.0 ms (6 %) to a step of DDP × 2")
    assert wrapper.startswith(
        "DDP's own work, on the host and copying gradients into buckets, adds 10.0 ms to a step of DDP × 2 ("
    )


def test_what_a_breakdown_has_is_not_said_again():
    sentences = reasons_of(*profiled_lab())
    assert not [text for text in sentences if text.startswith(("Moving", "The exchange"))]


def test_a_narrow_interval_around_zero_is_no_measurable_cost():
    sentences = reasons_of(make_record("ddp", 2, anatomy=make_profile("ddp", make_rank("ddp", on=350, silent=350))))
    assert any("The exchange of gradients has no measurable cost in a step of" in text for text in sentences)


def test_a_wide_interval_around_zero_is_too_uncertain_to_tell():
    rank = make_rank("ddp", silent=350)
    rank.exchange_on_seconds[:4] = [0.1] * 4
    rank.one_bucket_seconds = list(reversed(rank.exchange_on_seconds))
    sentence = " ".join(reasons_of(make_record("ddp", 2, anatomy=make_profile("ddp", rank))))
    assert "what it adds to a step of DDP × 2 is too uncertain to tell" in sentence


def test_without_anatomy_there_are_no_reasons():
    assert reasons_of(*typical_lab()) == []
    assert reasons_of(make_record(anatomy=make_profile("single"))) == []


def test_the_wrappers_price_is_one_device_against_one_device():
    alone = [
        make_record(method, 1, seconds, seed=seed)
        for seed, (method, seconds) in enumerate((("dp", 0.55), ("ddp", 0.52)))
    ]
    (group,) = groups_of(*in_rounds(*typical_lab(), *alone))
    assert wrapper_commands(group) == []
    assert said(wrapper_costs(group))[0].startswith("DP × 1 is 0.91 times as fast as one device without")
    assert "95 % interval 0.9" in said(wrapper_costs(group))[1]


def test_commands_for_the_wrappers_price_land_in_the_same_group():
    (group,) = groups_of(*typical_lab())
    single, dp, ddp = wrapper_commands(group)
    sizes = "--model resnet18 --batch-size 16 --epochs 2 --samples-per-epoch 640"
    sizes += " --image-size 64 --precision ieee-fp32"
    assert single == f"python 02_baseline_single_gpu.py {sizes}"
    assert dp == f"python 03_dataparallel_training.py {sizes} --gpus 0"
    assert ddp == f"torchrun --standalone --nproc_per_node=1 04_ddp_training.py {sizes}"


def test_the_representative_rows_are_not_the_wrappers_on_one_device():
    alone = make_record("ddp", 1, 0.1)
    (group,) = groups_of(*profiled_lab()[:2], alone)
    assert said(reasons(group))[0].startswith("DP × 2 spends")


# ---------------------------------------------------------------------------------------------- the page


def page_of(tmp_path, compare, *records):
    done = compare(write(tmp_path / "results", *records))
    assert done.returncode == 0, done.stderr
    return (tmp_path / "report.html").read_text().replace("\u00a0", " "), " ".join(done.stdout.split())


def test_page_and_console_say_why_and_recommend(tmp_path, compare):
    page, console = page_of(tmp_path, compare, *in_rounds(*profiled_lab()), make_record("ddp", 1), make_probed())
    assert "DP × 2 spends 60.0 ms a step copying the model" in page
    for text in (
        "A step trains 2 × 16 images. ",
        "Why: DP takes",
        "60.0 ms copying the model",
        "DDP's own work for it included (30.0 ms)",
    ):
        assert text in console
    assert "Recommendations • Use DDP." in console
    assert "Rows with fewer than 3 runs get no verdict" in console
    shown = ["40.0 ms</span>", "40.0 ms in its 2 buckets", "2 buckets: 9.54, 28.6 MiB", "of 100 GFLOP/s"]
    shown += ["All-reduce between the devices", "CPU cores share one memory", "<strong>Use DDP.</strong>"]
    for text in shown:
        assert text in page, text


def test_records_of_before_still_make_a_good_page(tmp_path, compare):
    page, console = page_of(tmp_path, compare, *in_rounds(*typical_lab()))
    assert "No run here was timed phase by phase" in page
    assert "<strong>Use DDP.</strong>" in page
    for absent in ("What communication costs", "How close to the limit", 'id="parts"', "Energy /", "None", "nan"):
        assert absent not in page, absent
    assert "Recommendations • Use DDP." in console


def test_energy_has_a_column_where_it_was_counted(tmp_path, compare):
    page, console = page_of(tmp_path, compare, drawing("single", 1, 1000.0), drawing("ddp", 2, 900.0, 900.0))
    assert "Energy /\n1,000 samples" in page
    assert "Energy of every device" in page
    assert "Energy /" in console
    assert "1.56 kJ" in console


def test_a_folder_without_completed_runs_shows_the_probes(tmp_path, compare):
    failed = make_record(status="failed", failure=Failure(kind="interrupted", rank=0, message="-", advice="-"))
    page, _ = page_of(tmp_path, compare, failed, make_probed())
    assert 'id="parts"' in page


def test_figures_stop_and_the_page_says_so(tmp_path, compare):
    models = [make_record(config={"model": f"model{number}"}, anatomy=make_profile("single")) for number in range(5)]
    page, _ = page_of(tmp_path, compare, *models)
    assert page.count("Figures, reasons and recommendations stop after 4 groups") == 1
    assert page.count("Why: where a step goes") == 4


def test_notes_and_probes_are_escaped(tmp_path, compare):
    nasty = "<script>alert(1)</script>"
    lab = profiled_lab(config={"model": nasty}, world={"device_model": nasty})
    lab[2].anatomy.note = nasty
    probes = make_probes(nasty, not_applicable={"copies": nasty}, failed={"memory": nasty})
    page, _ = page_of(tmp_path, compare, *lab, make_probed(probes=probes))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 8


@pytest.mark.parametrize("hatched", [True, False])
def test_colour_blind_readers_can_tell_phases_apart(hatched):
    """Colours of one kind (hatched or not) differ by 12 or more in CIE76 for every kind of dichromat (Machado 2009)."""
    between = {"scatter", "replicate", "gather", "reduce", "exchange"}
    colours = [colour for name, colour in PHASE_COLOURS.items() if (name in between) is hatched]
    for matrix in DICHROMATS.values():
        seen = [_lab(matrix @ _linear(colour)) for colour in colours]
        assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(seen, 2)) > 12


DICHROMATS = {
    "protanope": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "deuteranope": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "tritanope": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}


def _linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _lab(rgb: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(np.clip(to_xyz @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089], 0, None))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def lab_with_kinds(new=120.0, kept_threads=60.0, one_thread=70.0, kept_replicas=105.0):
    lab = profiled_lab()
    rank = make_rank("dp")
    rank.new_threads_seconds, rank.kept_threads_seconds = wobbling(new, 9), wobbling(kept_threads, 9)
    rank.one_thread_seconds, rank.kept_replicas_seconds = wobbling(one_thread, 9), wobbling(kept_replicas, 9)
    lab[1].anatomy = make_profile("dp", rank)
    return lab


def thread_cost_of(*records):
    (group,) = groups_of(*records)
    (line,) = said([thread_cost(row) for row in group.rows if row.method == "dp"])
    return line


def test_what_threads_and_replicas_cost_is_said_by_experiment():
    line = thread_cost_of(*lab_with_kinds())
    assert line.startswith("Starting new threads in every step costs DP × 2 60.0 ms of a step (")
    assert "Making new replicas in every step costs 15.0 ms" in line
    assert "convolution" not in line  # step 01 has not shown that


def test_threads_that_cost_nothing_are_not_blamed():
    line = thread_cost_of(*lab_with_kinds(kept_threads=120, kept_replicas=120))
    assert line.startswith("Starting new threads in every step has no measurable cost for DP × 2")
    assert "Making new replicas in every step has no measurable cost" in line


def test_two_h100s_lose_their_time_to_new_threads():
    """The committed records of `make lab` on them."""
    folder = read_folder(ROOT / "results" / "examples" / "h100x2-lab")
    groups = compare_runs(folder).groups
    (line,) = said([thread_cost(row) for row in groups[0].representatives if row.method == "dp"])
    assert "Starting new threads in every step costs DP × 2 61.7 ms of a step" in line
    assert "each new thread repeats cuDNN's planning" in line


@pytest.mark.parametrize(
    ("busy", "host", "phases", "said_of_it"),
    [
        (0.30, 0.2, {}, "bound by its device, which is idle for only 7 % of a step"),
        (
            0.10,
            0.31,
            {},
            "bound by launches: the device is idle for 69 % of a step, and the host needs 310 ms",
        ),
        (0.10, 0.2, {}, "idle for 69 % of a step, and no experiment here says why"),
        (0.10, 0.2, {"data_wait": 200}, "bound by its data"),
        (0.35, 0.2, {}, "extra, profiled steps it is busy for 109 % of a measured step"),
    ],
)
def test_what_a_step_waits_for(busy, host, phases, said_of_it):
    """A step of 322 ms and more, of which the device is busy for so many seconds, and which the host launches in so
    many."""
    lab = profiled_lab()
    rank = make_rank("single", **phases)
    rank.busy_seconds, rank.host_seconds = {"step": [busy] * 4}, {"step": [host] * 9}
    lab[0].anatomy = make_profile("single", rank)
    (group,) = groups_of(*lab)
    (line,) = said([bound(row) for row in group.rows if row.method == "single"])
    assert said_of_it in line


@pytest.mark.parametrize(
    ("options", "said_of_it"),
    [
        (
            {"on": 420, "silent": 350, "exchange": 60},
            "bound by the exchange of gradients, which adds 70.0 ms to a step",
        ),
        ({"on": 420, "silent": 350, "exchange": 1}, "bound by launches"),  # the other rank is late, the link is not
        ({"on": 420, "silent": 415, "exchange": 60}, "bound by launches"),  # what the wrapper does
        ({"on": 420, "exchange": 60}, "bound by launches"),  # one of the two, in an older record
    ],
)
def test_a_step_is_bound_by_the_exchange_where_two_measurements_say_so(options, said_of_it):
    rank = make_rank("ddp", **options)
    rank.busy_seconds, rank.host_seconds = {"step": [0.2] * 4}, {"step": [0.39] * 9}
    (group,) = groups_of(make_record("ddp", 2, kind="cuda", anatomy=make_profile("ddp", rank)))
    assert said_of_it in said([bound(group.rows[0])])[0]


def test_a_host_that_waits_within_gloos_exchange_is_not_late():
    rank = make_rank("ddp", on=420)
    rank.busy_seconds, rank.host_seconds = {"step": [0.2] * 4}, {"step": [0.39] * 9}
    shared = make_record("ddp", 2, kind="cuda", world={"backend": "gloo"}, anatomy=make_profile("ddp", rank))
    (group,) = groups_of(shared)
    assert "no experiment here says why" in said([bound(group.rows[0])])[0]


def test_a_step_whose_host_is_late_is_bound_by_launches():
    """Two H100s with 32 and 8 images each: 0.465 ms of messages, where 5.95 and 4.88 ms are lost with the exchange."""
    for part in build_report(read_folder(ROOT / "results" / "examples" / "h100x2-launch-bound")).groups[:2]:
        sentences = said([bound(row) for row in part.group.representatives])
        assert len(sentences) == 2
        assert all("is bound by launches" in text for text in sentences)
        assert sentences[1].endswith("; sending the gradients alone needs 0.465 ms, as step 01 measured.")
        assert not [text for text in said([one.sentence for one in part.advice]) if "--comm-hook" in text]
