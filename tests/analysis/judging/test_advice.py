"""Every rule fires on its figure, is silent below its threshold, and stands in docs/choosing.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from analysis.comparing.test_energy import make as drawing
from analysis.factories import in_rounds, make_record, typical_lab
from analysis.profile_factories import make_probes, make_profile, make_rank, profiled_lab
from analysis.views import WORDS, groups_of, said
from common.analysis.comparing.utilisation import COMPARABLE, EXPOSED_LIMIT
from common.analysis.judging import advice, verdicts
from common.analysis.judging.advice import RULES, advise
from common.analysis.judging.breakdown import breakdowns
from common.analysis.judging.reasons import reasons
from common.analysis.predicting.forecast import forecast
from common.analysis.predicting.inputs import Question
from common.analysis.sections.answer import answer_of
from common.analysis.sections.prediction import prediction_advice
from common.analysis.statistics import estimates

ROOT = Path(__file__).parents[3]


def fired(rule, *records, probes=()):
    """The advice of one rule."""
    (group,) = groups_of(*records, probes=probes)
    rows = {row.method: row for row in group.representatives}
    return [sentence(line) for line in RULES[rule](rows)]


def sentence(line):
    return " ".join(said(filter(None, [line.what, line.how, line.because])))


def lab(*times, **profiles):
    """One device, DP and DDP with these step times, and with these profiles by method."""
    cases = zip((("single", 1), ("dp", 2), ("ddp", 2)), times or (0.50, 0.80, 0.60), strict=True)
    return [
        make_record(method, devices, seconds, seed=seed, anatomy=profiles.get(method))
        for seed, ((method, devices), seconds) in enumerate(cases)
    ]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ((0.50, 0.80, 0.60), "Use DDP. DDP × 2 is 1.3"),
        ((0.50, 0.60, 0.80), "Use DP. DDP × 2 is 0.75 times as fast as DP × 2, slower"),
        ((0.50, 1.50, 1.40), "Train on one device: more devices are slower here. DDP × 2 is 0.71"),
        ((0.50, 0.55, 0.5425), "Use DDP, as PyTorch advises: the two are equally fast"),
    ],
)
def test_any_method_can_win(times, expected):
    (line,) = fired("fastest_method", *in_rounds(*lab(*times), scatter=0.0005))
    assert line.startswith(expected)


def test_what_is_too_uncertain_to_tell_wants_more_measuring():
    (line,) = fired("fastest_method", *in_rounds(*lab(0.50, 0.60, 0.602), scatter=0.05))
    assert line.startswith("Measure longer before you choose")
    assert "too uncertain to tell" in line


def test_nothing_is_recommended_by_fewer_than_three_runs():
    (line,) = fired("fastest_method", *in_rounds(*lab(), rounds=2))
    assert line.startswith("Measure at least three rounds of each before you choose (make lab does). DDP × 2 is 1.3")
    assert line.endswith("no verdict: that takes 1 more run each of DDP × 2 and DP × 2.")


def test_one_device_has_nobody_to_exchange_gradients_with():
    """DDP × 1 was told to exchange its gradients at once, or in fewer parts."""
    profile = make_profile("ddp", make_rank("ddp", on=500, off=350, one_bucket=300))
    lab_of_one = [make_record(kind="cuda"), make_record("ddp", 1, kind="cuda", anatomy=profile)]
    sentences = [sentence(line) for line in advise(groups_of(*lab_of_one)[0])]
    assert not [line for line in sentences if "exchange" in line.lower() or "bucket" in line]
    (group,) = groups_of(*lab_of_one)
    assert not [line for line in said(reasons(group)) if "exchange" in line]
    assert breakdowns(group) == []
    assert said(answer_of(group).why) == []


@pytest.mark.parametrize(("cores", "lines"), [(1, 0), (2, 1)])
def test_on_a_machine_of_one_device_no_exchange_is_advised_for_several(cores, lines):
    one = make_record(anatomy=make_profile("single"), environment={"cpu_cores": cores})
    (group,) = groups_of(one, probes=[make_probes()])
    question = Question(counts=(2,)) if cores == 1 else Question()
    predicted = forecast(group, question)
    assert bool(predicted and list(prediction_advice(group, question, predicted))) is bool(lines)


def test_one_method_alone_has_no_rival():
    assert fired("fastest_method", make_record()) == []


def test_on_one_device_a_wrapper_has_nothing_to_gain():
    (line,) = fired("fastest_method", make_record(), make_record("ddp", 1, 0.4))
    assert line.startswith("Train without a wrapper")


def test_data_bound():
    slow = make_record("ddp", 2)
    for rank in slow.ranks:
        rank.data_wait_seconds = [0.07 * seconds for seconds in rank.step_seconds]
    assert fired("data_bound", make_record()) == []
    (line,) = fired("data_bound", make_record(), slow)
    assert "--workers" in line
    assert "DDP × 2 waits for data 7 % of the time" in line


def exposing(on=420, silent=350, exchange=60, **options):
    """Steps that the all-reduce makes longer; the last rank waits `exchange` ms for it."""
    return make_profile("ddp", make_rank("ddp", on=on, silent=silent, off=345, exchange=exchange, **options))


def test_exposed_communication():
    (line,) = fired("exposed_communication", *lab(ddp=exposing()))
    assert "adds 70.0 ms of a step (18 %)" in line
    assert re.search(r"95 % interval .*, 9 steps", line)
    assert "--accumulation-steps" in line
    assert "--comm-hook fp16" in line
    on_gpus = [make_record(m, d, kind="cuda") for m, d in (("single", 1), ("dp", 2))]
    (line,) = fired("exposed_communication", *on_gpus, make_record("ddp", 2, kind="cuda", anatomy=exposing()))
    assert "--comm-hook bf16" in line
    assert fired("exposed_communication", *lab(ddp=exposing(on=370))) == []


def test_nobody_is_told_to_send_fewer_bytes_where_ranks_wait_for_a_late_one():
    """Steps without an all-reduce are as much shorter, but the rank that comes last waits 1 ms for the exchange."""
    assert fired("exposed_communication", *lab(ddp=exposing(exchange=1))) == []


def test_nobody_is_told_to_send_fewer_bytes_where_the_wrapper_may_be_dear():
    """What the wrapper does, by experiment; and older records, which do not tell it from the exchange."""
    assert fired("exposed_communication", *lab(ddp=exposing(silent=415))) == []
    assert fired("exposed_communication", *lab(ddp=exposing(silent=None))) == []


def test_exposed_communication_that_may_be_chance_is_no_reason():
    by_chance = exposing()
    by_chance.ranks[0].no_all_reduce_seconds[:2] = [9.0, 9.0]
    assert fired("exposed_communication", *lab(ddp=by_chance)) == []
    few = make_profile("ddp", make_rank("ddp", on=420, silent=350, exchange=60, steps=5), steps=5)
    assert fired("exposed_communication", *lab(ddp=few)) == []


def test_larger_buckets():
    (line,) = fired("larger_buckets", *lab(ddp=make_profile("ddp", make_rank("ddp", on=380, one_bucket=360))))
    assert "--one-bucket" in line
    assert "20.0 ms quicker (95 % interval 19.8–20.2 ms," in line
    assert fired("larger_buckets", *lab(ddp=make_profile("ddp", make_rank("ddp", on=380, one_bucket=400)))) == []


def test_no_bucket_gains_on_gpus_what_training_has_not_lost():
    """Steps of the experiment begin with idle devices; those of the training are 20 ms longer than one device's."""
    profile = make_profile("ddp", make_rank("ddp", on=380, one_bucket=330))
    for step, lines in ((0.52, 0), (0.60, 1)):
        records = [make_record(kind="cuda"), make_record("ddp", 2, step, kind="cuda", anatomy=profile)]
        assert len(fired("larger_buckets", *records)) == lines


def test_dp_moves_the_model():
    """2 + 60 + 3 + 40 of 457 ms."""
    (line,) = fired("dp_moves_the_model", *lab(dp=make_profile("dp"))[:2])
    assert line.startswith("Try DDP (04_ddp_training.py),")
    assert "DP × 2 spends 105 ms of a step (23 %)" in line
    light = make_profile("dp", make_rank("dp", replicate=5, reduce=5))
    assert fired("dp_moves_the_model", *lab(dp=light)[:2]) == []


def test_where_ddp_was_measured_the_comparison_says_more():
    assert fired("dp_moves_the_model", *lab(dp=make_profile("dp"))) == []


def test_straggler():
    slow = make_profile("ddp", make_rank("ddp", 0, exchange=130), make_rank("ddp", 1, backward=310))
    (line,) = fired("straggler", *lab(ddp=slow))
    assert "what slows rank 1" in line
    assert "It works 432 ms of a step of DDP × 2; rank 0 works 332 ms" in line
    assert fired("straggler", *lab(ddp=make_profile("ddp"))) == []


def test_no_straggler_where_the_host_of_each_takes_as_long():
    """A device that has kernels in store works for less, and waits for the other in the exchange."""
    ranks = [make_rank("ddp", 0, exchange=130), make_rank("ddp", 1, backward=310)]
    for rank in ranks:
        rank.host_seconds = {"step": [0.420] * len(rank.step_seconds)}
    assert fired("straggler", *lab(ddp=make_profile("ddp", *ranks))) == []


@pytest.mark.parametrize(("capacity_gib", "heavy", "fires"), [(2.4, 2, True), (4, 2, False), (1.2, 1, False)])
def test_device_0_is_full(capacity_gib, heavy, fires):
    """make_devices: 2,200 MiB reserved on device 0, 1,100 on the other; 1,800 and 900 in tensors."""
    record = make_record("dp", 2, kind="cuda")
    for device in record.devices:
        device.capacity_bytes = int(capacity_gib * 2**30)
        if heavy == 1:
            device.memory = record.devices[1].memory
    lines = fired("device_0_is_full", record)
    assert bool(lines) is fires
    if fires:
        assert "fills 90 % of device 0's 2.40 GiB and holds 2.00 times as much" in lines[0]


def test_idle_arithmetic():
    records = [make_record(flops_per_sample=10**8), make_record("ddp", 2, flops_per_sample=10**8)]
    (line,) = fired("idle_arithmetic", *records, probes=[make_probes()])
    assert "One device reaches 3.2 % of the measured matmul rate" in line
    assert fired("idle_arithmetic", *records) == []
    busy = make_record(flops_per_sample=10**9)
    assert fired("idle_arithmetic", busy, probes=[make_probes()]) == []


def test_faster_precision():
    busy = [make_record(flops_per_sample=10**9), make_record("ddp", 2, flops_per_sample=10**9)]
    (line,) = fired("faster_precision", *busy, probes=[make_probes(bf16=240e9)])
    assert "--precision bf16" in line
    assert "2.40 times the rate of ieee-fp32. At the rate of ieee-fp32 they fill 32 % of a step" in line
    assert "save about 19 % of it" in line  # 32 % × (1 − 1 / 2.40)
    assert fired("faster_precision", *busy, probes=[make_probes(bf16=140e9)]) == []
    assert fired("faster_precision", *busy, probes=[make_probes("Another CPU", bf16=240e9)]) == []


def test_no_other_precision_where_a_device_does_little_arithmetic():
    """Below `MFU_LIMIT` it waits for something else: that comes first. Without a count of FLOPs nobody knows."""
    idle = [make_record(flops_per_sample=10**8), make_record("ddp", 2, flops_per_sample=10**8)]
    assert fired("idle_arithmetic", *idle, probes=[make_probes(bf16=240e9)])
    assert fired("faster_precision", *idle, probes=[make_probes(bf16=240e9)]) == []
    assert fired("faster_precision", *lab(), probes=[make_probes(bf16=240e9)]) == []


def test_least_energy():
    frugal, hungry = drawing("single", 1, 1000.0, step_seconds=0.5), drawing("ddp", 2, 1500.0, 1500.0, step_seconds=0.5)
    (line,) = fired("least_energy", *in_rounds(frugal, hungry))
    assert "use one device" in line
    assert "1,000 samples take 1.56 kJ there, 33 % less than the 2.34 kJ with DDP × 2 (95 % interval 3" in line
    alike = [drawing("single", 1, 1560.0), drawing("ddp", 2, 1500.0, 1500.0)]
    assert fired("least_energy", *in_rounds(*alike)) == []
    assert fired("least_energy", *typical_lab()) == []


def test_energy_without_an_interval_or_with_a_wide_one_is_no_advice():
    frugal, hungry = drawing("single", 1, 1000.0, step_seconds=0.5), drawing("ddp", 2, 1500.0, 1500.0, step_seconds=0.5)
    assert fired("least_energy", *in_rounds(frugal, hungry, rounds=2)) == []
    wide = in_rounds(frugal, hungry)
    for number, record in enumerate(wide[1::2]):
        for device in record.devices:
            device.energy_joules *= (0.4, 1.0, 1.6)[number]
    assert fired("least_energy", *wide) == []


def test_a_run_that_failed_parity_gives_and_gets_no_advice():
    records = profiled_lab()
    records[1].parity.outcome = "failed"
    (group,) = groups_of(*records)
    assert not any("DP × 2 " in WORDS.text(line.because).replace("DDP × 2 ", "") for line in advise(group))
    for record in records[::2]:
        record.parity = records[1].parity
    (group,) = groups_of(*records)
    assert advise(group) == []


def test_advice_comes_in_the_order_of_the_rules():
    (group,) = groups_of(*in_rounds(*profiled_lab()), probes=[make_probes(bf16=240e9)])
    texts = [WORDS.text(line.what) for line in advise(group)]
    assert texts[0] == "Use DDP."
    assert texts[-1] == "Try --precision bf16."
    assert len(texts) == 2


def test_rules_and_thresholds_are_those_of_the_document():
    text = (ROOT / "docs" / "choosing.md").read_text()
    rules, thresholds = text.split("## Thresholds")
    assert re.findall(r"^\| `(\w+)` \|", rules, flags=re.MULTILINE) == list(RULES)
    documented = {
        name: float(value) for name, value in re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", thresholds, re.MULTILINE)
    }
    of_rules = {name: value for name, value in vars(advice).items() if re.search("_(LIMIT|GAIN)$", name)}
    of_others = {"EXPOSED_LIMIT": EXPOSED_LIMIT, "COMPARABLE": COMPARABLE, "NARROW": estimates.NARROW}
    assert documented == of_rules | of_others | {"WORTH_A_CHOICE": verdicts.WORTH_A_CHOICE}
    assert set(re.findall(r"`([A-Z][A-Z_]+[A-Z])`", rules)) == set(documented)


def test_every_flag_that_is_advised_exists(run_help):
    scripts = ("02_baseline_single_gpu.py", "03_dataparallel_training.py", "04_ddp_training.py")
    known = {flag for script in scripts for flag in run_help(script)}
    texts = [(ROOT / "templates" / "sentences.en.toml").read_text()]
    texts.append((ROOT / "common" / "analysis" / "judging" / "reasons.py").read_text())
    advised = set(re.findall(r"--[a-z][a-z-]+", " ".join([*texts, (ROOT / "docs" / "choosing.md").read_text()])))
    assert {"--workers", "--bucket-cap-mb", "--precision", "--accumulation-steps", "--channels-last"} <= advised
    of_others = {
        "--standalone",
        "--nproc",
        "--max-restarts",
        "--rdzv-endpoint",
        "--shm-size",
        "--cpus",
    }  # torchrun's, docker's
    of_others |= {"--link", "--inter-node", "--generate-plots"}  # step 05's
    assert advised - known - of_others == set()
