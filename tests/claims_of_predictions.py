"""What documents say of the errors of predictions, by `benchmarks/prediction_error.py`."""

import sys
from statistics import fmean

from conftest import ROOT
from example_figures import Claims, Example, gib, ms, number, of, percent, says, us

from common.analysis.predicting.forecast import forecast
from common.analysis.predicting.inputs import read_question
from common.formats import FORMATS

sys.path.insert(0, str(ROOT / "benchmarks"))

PREDICTION, VERIFIED = "docs/prediction.md", "docs/verified.md"
LABELS = {
    "2 H100s, NVLink": "NVLink (`h100x2`)",
    "2 H100s, NVLink, short epochs": "NVLink, short epochs (`h100x2-lab`)",
    "2 H100s, NVLink, another host": "NVLink, another host (`h100x2-ledger`)",
    "2 H100s, no peer access": "no peer access (`h100x2-no-peer`, step 02 of `h100x2-ledger`)",
    "2 H100s, three batches": "three batches (`h100x2-crossover`, step 01 of `h100x2-ledger`)",
    "4 H200s": "four H200s (`h200x4`)",
    "2 H200s": "two H200s (`h200x2-batch256`)",
    "2 H200s, four batches": "four batches (`h200x2-crossover`, step 01 of `h200x2-batch256`)",
    "2 H100s, launch-bound": "launch-bound, alone on four H100s (`h100x2-launch-bound`)",
    "2 CPU cores": "two CPU cores (`cpu`)",
}
"""The benchmark's cases, as the document calls them."""
FAR_OFF = 0.15
"""Larger errors are set in bold."""


@of("h100x2", "h100x2-lab", "h100x2-ledger", "h100x2-no-peer", "h100x2-crossover", "h200x4", "h200x2-batch256",
    "h200x2-crossover", "h100x2-launch-bound", "cpu")  # fmt: skip
def predictions(*folders: Example) -> Claims:
    from prediction_error import CASES, example

    found = [line for name, cases in CASES.items() for line in example(name, cases)]
    lines = [text for method in ("ddp", "dp") for case in LABELS for text in _lines(found, method, case)]
    head = (
        "| case | images | method | predicted (range) | measured | error | naive | |---|---:|---|---:|---:|---:|---:| "
    )
    yield says(PREDICTION, head + " ".join(lines))
    dp = [line for line in found if line["method"] == "dp"]
    late, busy = ([line for line in found if line["method"] == "ddp" and line["is_late_host"] is is_late]
                  for is_late in (True, False))  # fmt: skip
    cores = [line for line in busy if "CPU" in line["case"]]
    gpus = [line for line in busy if line not in cores]
    assert (len(dp), len(late), len(gpus), len(cores)) == (12, 6, 9, 1)
    assert [line["case"] for line in found if not line["is_covered"]] == ["2 H100s, three batches, 128 each"]
    yield says(
        PREDICTION,
        f"DP: mean error {_mean(dp)}, worst {_worst(dp)}; naive {_mean(dp, NAIVE)}: the formula has skill. DDP on GPUs "
        f"that are busy: mean {_mean(gpus)}, worst {_worst(gpus)}; naive {_mean(gpus, NAIVE)}, so it adds one per "
        f"cent. On CPU cores, one case, {_mean(cores)}; naive {_mean(cores, NAIVE)}. DDP where the host is late: mean "
        f"{_mean(late)}, worst {_worst(late)}; naive {_mean(late, NAIVE)}: better than nothing, and too far off to "
        "choose by. All but one are within their range.",
    )
    tests = [line for line in dp if "H200" in line["case"]]
    assert len(tests) == 7
    yield says(
        PREDICTION,
        f"The seven on H200s are a test, four devices among them: mean {_mean(tests)}, worst {_worst(tests)}.",
    )
    yield says(
        VERIFIED,
        f"DDP was predicted from one device with a mean error of {_mean(gpus)} in nine cases whose GPUs were busy "
        f"(naive, a step as long as one device's: {_mean(gpus, NAIVE)}) and of {_mean(late)} in six whose host was "
        f"late (naive: {_mean(late, NAIVE)}), within a range that was widened for them; DP with {_mean(dp)} (naive: "
        f"{_mean(dp, NAIVE)}; worst {_worst(dp)}, 12 cases, all but one within their range;",
    )


@of("h200-predicted")
def not_measured_yet(e: Example) -> Claims:
    lines = []
    for part in sorted(e.report.groups, key=lambda part: part.group.rows[0].record.config.model):
        config = part.group.rows[0].record.config
        for method in ("ddp", "dp"):
            of_method = [one for one in forecast(part.group, QUESTION).forecasts if one.method == method]
            steps = " | ".join(
                f"{ms(one.step.seconds)} ms ({FORMATS['ms'](one.step.low, one.step.high).number})" for one in of_method
            )
            eight = of_method[-1]
            lines.append(
                f"| {config.model} | {config.per_device_batch_size} | {method.upper()} | {steps} "
                f"| {percent(eight.efficiency)} % | {gib(eight.memory_bytes)} |"
            )
    yield says(PREDICTION, " ".join(lines))
    gpt2 = e.row("single", model="hf:gpt2")
    record = gpt2.record
    yield says(
        PREDICTION,
        f"whose host has {record.environment.cpu_cores} cores (`h200-predicted`, {record.started_at[:10]}, torch 2.11, "
        f"{record.config.precision}; one run of each model), by `--predict 2,4,8 --link nvlink4`. Who has such a "
        f"machine can test it. A sample of gpt2 has {record.config.sequence_length} tokens.",
    )
    logits = gib(gpt2.profile.gathered_bytes)
    held = gib(max(peak.peak_bytes for peak in gpt2.memory))
    yield says(PREDICTION, f"logits, {logits} GiB a GPU and step, cross the link to device 0")
    yield says(PREDICTION, f"beyond one device's {held} GiB")
    vit = e.row("single", model="vit_b_16").profile.different_convolutions
    assert (vit, gpt2.profile.different_convolutions) == (1, 0)


QUESTION = read_question("2,4,8", "nvlink4", None, None)
NAIVE = "naive_error"


def _mean(lines: list[dict], error: str = "error") -> str:
    return _share(fmean(abs(line[error]) for line in lines))


def _worst(lines: list[dict]) -> str:
    return _share(max(abs(line["error"]) for line in lines))


def _share(error: float) -> str:
    return FORMATS["%.1"](error)


def _lines(found: list[dict], method: str, case: str) -> list[str]:
    """The table's lines of one case, the smallest batch first; only the first has the case's name."""
    own = {}
    for line in found:
        name, _, batch = line["case"].rpartition(", ")
        if (name, line["method"]) == (case, method):
            own[int(batch.split()[0])] = line
    lines = []
    for batch, line in sorted(own.items()):
        ends = FORMATS["ms"](line["low_ms"] / 1e3, line["high_ms"] / 1e3).number
        error = FORMATS["±%.1"](line["error"])
        error = f"**{error}**" if abs(line["error"]) > FAR_OFF else error
        label = f"| {LABELS[case]} |" if not lines else "| |"
        late = ", late" if line["is_late_host"] else ""
        lines.append(f"{label} {batch} | {method.upper()}{late} | {number(line['predicted_ms'])} ms ({ends}) | "
                     f"{number(line['measured_ms'])} ms | {error} | {FORMATS['±%.1'](line[NAIVE])} |")  # fmt: skip
    return lines


@of("h100x2-launch-bound", "h200x2-crossover", "h200x2-batch256", "h100x2-lab")
def late_hosts(e: Example, h200: Example, probed: Example, _: Example) -> Claims:
    of_one = h200.report.crossovers[0].predicted.host_of_one
    ddp, own, own_ddp = ([ms(one.row(method, per_device_batch_size=batch).step) for batch in (8, 32)]
                         for one, method in ((h200, "ddp"), (e, "single"), (e, "ddp")))  # fmt: skip
    launches = [
        us(time) for one in (probed, e) for time in (one.launches.processes_seconds, one.launches.alone_seconds)
    ]
    row = e.row("single", per_device_batch_size=32)
    yield says(
        PREDICTION,
        f"On H200s one device needs {ms(of_one)} ms to launch a step, DDP's steps take {ddp[0]} and {ddp[1]}; a job on "
        f"two more GPUs ran there. On a host with nothing else it is the same: steps of {own[0]} and {own[1]} ms, of "
        f"DDP {own_ddp[0]} and {own_ddp[1]}. Several processes launch more slowly at once (step 01: {launches[0]} µs "
        f"instead of {launches[1]}, and {launches[2]} instead of {launches[3]}), but a correction for that would be "
        "wrong for `h100x2-lab`. And a host's pace changes by itself: the same step of one device took "
        f"{ms(row.step)} ms in the measured epochs and {ms(row.profile.slowest.step)} when timed phase by phase.",
    )


@of("h200x4")
def four_devices(e: Example) -> Claims:
    found = {one.method: one for one in e.report.forecasts[0][1].forecasts if one.measured}
    errors = [
        FORMATS["±%.1"](getattr(found[method], error)).number for method in ("ddp", "dp") for error in ("error", NAIVE)
    ]
    yield says(
        VERIFIED,
        f"Both methods on four GPUs were predicted from one with errors of {errors[0]} (DDP; naive: {errors[1]}) and "
        f"{errors[2]} % (DP; naive: {errors[3]}) of the mean step (`h200x4`,",
    )
