"""What docs/why.md says of threads, replicas, hosts and batches, and what other documents take from the same claims."""

import re
from statistics import median

from example_figures import (
    EXAMPLES,
    Claims,
    Example,
    ms,
    ms_both,
    ms_ends,
    number,
    of,
    percent,
    rate,
    ratio_of,
    says,
    times,
    times_both,
    us,
    whole,
)

from common.analysis.comparing.utilisation import exchange_seconds
from common.analysis.reading.folder import read_record
from common.analysis.reading.thread_costs import differences
from common.analysis.statistics.medians import resampled_median
from common.records import REPLICATED_KINDS

WHY, EXERCISE, CHECKPOINTS, MEASUREMENT = (
    "docs/why.md",
    "docs/exercise.md",
    "docs/checkpoints.md",
    "docs/measurement.md",
)
KINDS = (
    "new_threads_new_replicas", "kept_threads_new_replicas", "one_thread_new_replicas", "new_threads_kept_replicas",
)  # fmt: skip


@of("h100x2-lab")
def threads_and_replicas(e: Example) -> Claims:
    found, launches = e.dp.profile, e.launches
    new, kept, one, replicas = (ms(found.replicated.kinds[kind]) for kind in KINDS)
    yield says(
        WHY,
        f"resnet50, tf32, 64 images per GPU, torch 2.11, {found.replicated.kinds[KINDS[0]].count} steps of each kind "
        "(`results/examples/h100x2-lab`, made by `make lab`; differences are medians step by step, with 95 % "
        "intervals):",
    )
    yield says(WHY, f"| one device, half the images (step 02) | {ms(e.one.profile.slowest.step)} ms | |")
    yield says(WHY, f"| as torch does it | {new} ms | |")
    yield says(WHY, f"| kept threads | {kept} ms | starting new threads costs {_cost(found.replicated.threads_cost)} |")
    yield says(WHY, f"| one thread | {one} ms | kept threads against taking turns: {_cost(e.turns)} |")
    yield says(
        WHY, f"| kept replicas | {replicas} ms | making new replicas costs {_cost(found.replicated.replicas_cost)} |"
    )
    yield says(
        WHY, f"that changes little ({new} against {ms(found.slowest.step)} ms when timed phase by phase, `h100x2-lab`)."
    )
    yield says(
        EXERCISE,
        f"a launch {us(launches.alone_seconds)} µs from one thread, {us(launches.threads_seconds)} from each of two. "
        f"Starting new threads costs {ms(found.replicated.threads_cost)} ms of a step of {ms(e.dp.step)} ms, "
        "since each new thread plans its convolutions again (`h100x2-lab`, [why.md](why.md))",
    )
    yield says(
        MEASUREMENT,
        f"(`results/examples/h100x2-lab`, medians): {e.pair(e.ddp, 2)} ms under DDP, {e.pair(e.dp, 1)} under DP, "
        f"{e.pair(e.one, 2)} on one GPU.",
    )


def _cost(found) -> str:
    return f"{ms(found)} ms ({ms_ends(found)})"


@of("h100x2-lab", "h100x2-ledger", "h200x4")
def launches_of_three_hosts(*hosts: Example) -> Claims:
    launches = [host.launches for host in hosts]
    rows = {
        "a convolution, from a thread that has launched it before": [one.convolution_seconds for one in launches],
        "a convolution, from a thread that has just started": [one.first_convolution_seconds for one in launches],
        "a launch, from one thread": [one.alone_seconds for one in launches],
        "a launch, from each of N threads at once": [one.threads_seconds for one in launches],
        "a launch, from each of N processes at once": [one.processes_seconds for one in launches],
    }
    lines = [f"| {name} | {' | '.join(map(us, seconds))} |" for name, seconds in rows.items()]
    yield says(
        WHY,
        "| µs of the host | two H100s (`h100x2-lab`) | another host (`h100x2-ledger`) | four H200s (`h200x4`) | "
        "|---|---:|---:|---:| " + " ".join(lines),
    )


@of("h100x2-ledger", "h100x2-lab")
def another_host(e: Example, before: Example) -> Claims:
    kinds, breakdown = e.dp.profile.replicated.kinds, e.breakdown("dp")
    yield says(
        WHY,
        "`make lab` a day later, with epochs twice as long, on two H100s whose host launches faster "
        "(`results/examples/h100x2-ledger`). One GPU and DDP are hardly faster "
        f"({rate(e.one.throughput)} and {rate(e.ddp.throughput)} samples/s; there: {rate(before.one.throughput)} and "
        f"{rate(before.ddp.throughput)}). DataParallel is: {times_both(e.dp.speed_up)} × one GPU instead of "
        f"{times_both(before.dp.speed_up)}. The host decides its speed. For a step of 128 images (ideal: "
        f"{ms(breakdown.ideal)} ms):",
    )
    assert e.one.record.config.samples_per_epoch == 2 * before.one.record.config.samples_per_epoch
    names = {
        "new_threads": "starting new threads", "new_replicas": "making new replicas",
        "copies": "copies of batch, outputs, gradients", "residual": "residual",
    }  # fmt: skip
    assert set(breakdown.items) == set(names)
    lines = [f"| measured step | {ms(breakdown.measured)} | {ms_ends(breakdown.measured)} |"]
    lines += [f"| {name} | {ms(e.item('dp', id))} | {ms_ends(e.item('dp', id))} |" for id, name in names.items()]
    yield says(WHY, "| item | ms | 95 % interval | |---|---:|---| " + " ".join(lines))
    yield says(
        WHY,
        f"The GPU that holds the model is idle "
        f"for {percent(e.dp.profile.idle_share)} % of a step; under DDP for {percent(e.ddp.profile.idle_share)} %. "
        f"With kept threads a step takes {ms(kinds[KINDS[1]])} ms, in turn from one thread {ms(kinds[KINDS[2]])}.",
    )


@of("h100x2-crossover")
def batches(e: Example) -> Claims:
    series = e.report.crossovers[0]
    found = series.predicted
    small, middle, large = (times(ratio) for ratio in series.ratios("dp", "single").values())
    host = f"From the host's {ms(found.host)} ms a step and"
    met = number(series.measured[0])
    yield says(
        WHY,
        f"DataParallel is {small} × one GPU at 8 images per GPU, {middle} × at 32 and {large} × at 128; one run of "
        f"each is no verdict. {host} the device's {ms(found.seconds_per_sample)} ms a sample step 05 predicts that it "
        f"catches up with one GPU at {number(found.batch)} images per GPU ({number(found.low)}–{number(found.high)}); "
        f"measured, between 32 and 128: {met}.",
    )
    yield says(
        CHECKPOINTS,
        f"{host} a device's {ms(found.seconds_per_sample)} ms a sample step 05 predicted that DP catches up with one "
        f"GPU at {number(found.batch)} images per GPU; measured, between 32 and 128: {met} (`h100x2-crossover`, one "
        "run each).",
    )
    yield says(
        CHECKPOINTS,
        f"With 128 images per GPU DP was {large} × one GPU on the same kind of machine (`h100x2-crossover`; one run of "
        "each: no verdict)",
    )
    assert all(len(row.runs) == 1 for row in series.all_rows)


@of("h200x2-crossover")
def batches_of_h200s(e: Example) -> Claims:
    series = e.report.crossovers[0]
    found = series.predicted
    yield says(
        WHY,
        f"one GPU is bound by launches up to 16 images; DataParallel catches up with it at "
        f"{number(series.measured[0])}, where {number(found.batch)} ({number(found.low)}–"
        f"{number(found.high)}) were predicted.",
    )


@of("h200x4")
def four_gpus(e: Example) -> Claims:
    found = e.dp.profile
    quicker = found.replicated.turns.negated()
    steps = e.steps_of_dp.kept_threads_seconds
    yield says(WHY, f"Of resnet50's 53 convolutions {e.one.profile.different_convolutions} differ in")
    yield says(
        WHY,
        "(`make lab` on four H200s, `results/examples/h200x4`, 64 images per GPU, three runs): DDP is "
        f"{times_both(e.ddp.speed_up)} × one GPU, DataParallel {times_both(e.dp.speed_up)} ×: about as fast as one "
        f"GPU. Of its {ms(e.dp.step)} ms, new threads cost {ms_both(found.replicated.threads_cost)}, new replicas "
        f"{ms_both(found.replicated.replicas_cost)}; the residual is {ms_both(e.item('dp', 'residual'))}. Kept threads "
        f"are quicker there than one thread that takes turns, by {ms_both(quicker)}: the first six steps in kept "
        f"threads took {ms(median(steps[:6]))} ms, the other "
        f"{'fourteen' if len(steps) == 20 else len(steps) - 6} {ms(median(steps[6:]))},",
    )


@of("h200x2-batch256")
def large_batches(e: Example) -> Claims:
    found = e.dp.profile
    costs = [found.replicated.threads_cost, found.replicated.replicas_cost]
    yield says(
        WHY,
        "(two H200s, `results/examples/h200x2-batch256`, three runs): DataParallel is "
        f"{times_both(e.dp.speed_up)} × one GPU, DDP {times_both(e.ddp.speed_up)} ×. Threads and replicas still cost "
        f"{ms(costs[0])} and {ms(costs[1])} ms where a step begins with idle devices; in training the host works ahead "
        f"of them, the device is idle for {percent(found.idle_share)} % of a step, and the step is "
        f"{ms(e.breakdown('dp').lost)} ms longer than the ideal.",
    )
    yield says(
        MEASUREMENT,
        f"threads and replicas cost {whole(1e3 * sum(cost.value for cost in costs))} ms where a step begins with idle "
        f"devices, and the measured step is {1e3 * e.breakdown('dp').lost:.1f} ms longer than the ideal.",
    )


@of("h100x2-no-peer", "h100x2-ledger")
def slow_link(e: Example, quick: Example) -> Claims:
    fastest = [max(time.algorithm_bandwidth_bytes_per_second for time in one.probes.all_reduce.times)
               for one in (quick, e)]  # fmt: skip
    yield says(
        WHY,
        "**A slow link instead** (`NCCL_P2P_DISABLE=1`, `results/examples/h100x2-no-peer`): all-reduce falls from some "
        f"{round(fastest[0] / 1e9, -1):.0f} to {fastest[1] / 1e9:.0f} GB/s. DDP's exchange that is not hidden, with "
        f"what DDP itself does for it, grows from {_cost(quick.ddp.profile.exposed)} to "
        f"{_cost(e.ddp.profile.exposed)} of a step, and overlap with the backward pass then saves "
        f"{ms(e.ddp.profile.overlap_gain)} ms: {rate(e.ddp.throughput)} samples/s in its one "
        f"run, {rate(quick.ddp.throughput)} with the link (three runs).",
    )


@of("h100x2-launch-bound")
def late_host(e: Example) -> Claims:
    ddp, one = (e.row(method, per_device_batch_size=32) for method in ("ddp", "single"))
    found = ddp.profile
    alone, waits = exchange_seconds(ddp, found.bucket_bytes), ms(found.last_wait)
    yield says(
        WHY,
        f"(two H100s alone on their host, 32 images per GPU, `results/examples/h100x2-launch-bound`, one run): a step "
        f"takes {ms(ddp.step)} ms where one GPU's takes {ms(one.step)}. Steps under `no_sync()` are "
        f"{_cost(found.exposed)} shorter, which looks like the exchange and is not: its messages by themselves need "
        f"{ms(alone)} ms (step 01), and the rank that is last with its own backward pass waits {waits} ms for them. "
        f"The device is idle for {percent(found.idle_share)} % of a step, and the host needs "
        f"{ms(found.host_step)} ms to launch one:",
    )
    yield says(
        MEASUREMENT,
        f"(`results/examples/h100x2-launch-bound`) steps under `no_sync()` are {ms(found.exposed)} ms shorter, "
        f"the five messages need {ms(alone)} ms, and the last rank waits {waits} ms.",
    )


@of("h200x4")
def busy_ranks(e: Example) -> Claims:
    newest = read_record(EXAMPLES / "h200x4" / e.apart(e.ddp).file)
    busy = sorted(1e3 * median(rank.busy_seconds["step"]) for rank in newest.anatomy.ranks)
    yield says(
        MEASUREMENT,
        f"(`h200x4`: three ranks that waited were busy for {whole(busy[1])} ms of a step of "
        f"{whole(1e3 * e.ddp.profile.slowest.step.value)}, the fourth, like one device alone, for {whole(busy[0])})",
    )
    assert len({whole(one) for one in busy[1:]}) == 1
    assert e.ddp.profile.busy_step.value * 1e3 == busy[0]


@of("h100x2-vit")
def without_convolutions(e: Example) -> Claims:
    found = e.dp.profile
    new, kept, one, replicas = (ms(found.replicated.kinds[kind]) for kind in KINDS)
    yield says(
        WHY,
        f"(tf32, 64 per GPU, one run, `results/examples/h100x2-vit`): {new} ms as torch does it, {kept} in kept "
        f"threads, {one} from one thread, {replicas} with kept replicas. New threads have no measurable cost there "
        f"({ms_ends(found.replicated.threads_cost)} ms), new replicas cost {ms(found.replicated.replicas_cost)} ms, "
        f"and the device is busy for {percent(1 - found.idle_share)} % of the step.",
    )


@of("h200-new-threads")
def new_threads_on_one_gpu(e: Example) -> Claims:
    cases = [("resnet50", 64), ("resnet50", 16), ("vit_b_16", 32)]
    rows = [[e.row(method, model=model, per_device_batch_size=size).profile for method in ("single", "dp")]
            for model, size in cases]  # fmt: skip
    one, two = [single.threads_of_forward for single, _ in rows], [dp.replicated for _, dp in rows]
    costs = [single.new_thread_cost for single, _ in rows]
    for (model, size), forward, cost, found in zip(cases, one, costs, two, strict=True):
        kinds = " | ".join(ms(seconds) for seconds in forward.median_seconds.values())
        yield says(WHY, f"| {model}, {size} | {kinds} | {_cost(cost)} |")
        kinds = " | ".join(ms(found.kinds[kind]) for kind in REPLICATED_KINDS[:4])
        effects = (found.threads_cost, found.replicas_cost, found.interaction)
        yield says(WHY, f"| {model}, {size} | {kinds} | " + " | ".join(map(_cost, effects)) + " |")
    counts = {len(forward.passes.orders) for forward in one} | {found.threads_cost.count for found in two}
    config, environment = e.one.record.config, e.one.record.environment
    yield says(
        WHY,
        f"One {e.one.record.world.device_model} ({config.precision}, torch {environment.torch[:4]}, {counts.pop()} "
        "rounds, `results/examples/h200-new-threads`):",
    )
    assert not counts
    for forward in one[:2]:
        paying = [layer for layer in forward.convolutions if layer.pays]
        assert paying == [layer for layer in forward.convolutions if not layer.same_as]
        assert (len(paying), len(forward.paying), len(forward.convolutions)) == (23, 23, 53)
        times = forward.passes.seconds
        assert not resampled_median(differences(times, "kept_thread", "main_thread")).is_above_zero
    assert not one[2].paying
    extra = sum(layer.extra for layer in one[0].paying)
    yield says(WHY, f"long there in every pass, with 64 images {ms(extra)} ms together. No other layer does,")
    pairs = [(ms(found.threads_cost), ms(cost)) for cost, found in zip(costs, two, strict=True)]
    yield says(
        WHY,
        f"in runs of their own ({pairs[0][0]} ms beside {pairs[0][1]} at 64 images, {pairs[1][0]} beside "
        f"{pairs[1][1]} at 16), and not twice as much",
    )
    assert not any(found.interaction.is_above_zero or found.interaction.is_below_zero for found in two[:2])


@of("h200-any-model")
def new_threads_of_any_model(e: Example) -> Claims:
    found = {model: e.row("single", model=model).profile
             for model in ("timm:convnext_tiny", "hf:gpt2", "examples/unet.py")}  # fmt: skip
    convnext, gpt2, unet = (profile.threads_of_forward for profile in found.values())
    of_gpt2, of_unet, gpt2_cost = gpt2.median_seconds, unet.median_seconds, found["hf:gpt2"].new_thread_cost
    paying = sum(layer.is_convolution for layer in convnext.paying)
    main, new = (ms(convnext.median_seconds[kind]) for kind in ("main_thread", "new_thread"))
    yield says(
        WHY,
        f"timm's convnext_tiny takes {main} ms a step with 64 images, and {new} ms with its forward pass "
        f"in a new thread ({paying} of {len(convnext.convolutions)} convolutions pay); the U-Net of `examples/unet.py` "
        f"{ms(of_unet['main_thread'])} and {ms(of_unet['new_thread'])} ms. For transformers' gpt2, "
        f"16 sequences of 512 tokens, a new thread costs {_cost(gpt2_cost)} of {ms(of_gpt2['main_thread'])} ms",
    )


@of("h200-kept-threads")
def kept_threads(e: Example) -> Claims:
    yield says(
        WHY,
        f"On one {e.one.record.world.device_model} that two replicas share ({e.one.record.config.precision}, torch "
        f"{e.one.record.environment.torch[:4]}, `--gpus 0,0`, `results/examples/h200-kept-threads`), which is not "
        "scaling but has DataParallel's threads all the same, in images per second:",
    )
    for model, size in (("resnet50", 64), ("resnet50", 16), ("vit_b_16", 64)):
        new, kept = (e.row(method, model=model, per_device_batch_size=size) for method in ("dp", "dp_kept_threads"))
        ratio, runs = ratio_of(kept, new), len(kept.runs)
        faster = f"{times_both(ratio)} times as fast" if runs > 2 else f"{times(ratio)} times"
        figures = f"{rate(new.throughput)} | {rate(kept.throughput)} | {faster}, {runs} runs each |"
        yield says(WHY, f"| {model}, {size} | {figures}")
    yield says(WHY, f"One device alone trains {rate(e.one.throughput)} of {e.one.record.config.per_device_batch_size}.")


@of("h200-any-model")
def the_labs_loop(e: Example) -> Claims:
    printed = (EXAMPLES / "h200-any-model" / "harness_overhead.txt").read_text()
    yield says(
        MEASUREMENT,
        "Other models, later, on another H200, ten pairs each "
        "(`results/examples/h200-any-model/harness_overhead.txt`):",
    )
    part = r"([\d.]+) \(([\d.]+) to ([\d.]+)\)"
    unet = "--model examples/unet.py --batch-size 64 --samples-per-epoch"
    for setting in (
        "--model hf:gpt2 --sequence-length 512 --batch-size 16 --samples-per-epoch 480 --optimizer adamw",
        "--model timm:convnext_tiny --batch-size 64 --samples-per-epoch 3200",
        "--model examples/unet.py --batch-size 256 --samples-per-epoch 25600 --prefetch",
        f"{unet} 6400 --batch-size 256",
        f"{unet} 12800",
    ):
        of_it = rf"^{re.escape(setting)}, 10 pairs\n  bare ([\d,]+) samples/s; the lab's loop {part} of it: "
        found = re.search(of_it + rf"measuring {part}, loader {part}$", printed, re.MULTILINE)
        bare, *parts = found.groups()
        cells = [f"{value} ({low}–{high})" for value, low, high in (parts[:3], parts[3:6], parts[6:])]
        yield says(MEASUREMENT, f"| {bare}/s | {' | '.join(cells)} |")


@of("h200-any-model")
def a_loader_beside_steps(e: Example) -> Claims:
    printed = (EXAMPLES / "h200-any-model" / "loader_beside_steps.txt").read_text()
    small, large = re.findall(r"--batch-size (?:64|256) .*?(?=\n--model|\Z)", printed, re.DOTALL)

    def speed(of: str, kind: str) -> list[str]:
        return re.search(rf"  {kind}: .* speed ([\d.]+) \(([\d.]+) to ([\d.]+)\) of alone", of).groups()

    value, low, high = speed(small, "pinned")
    without = speed(small, "not pinned")
    yield says(MEASUREMENT, f"slows these steps to {value} ({low}–{high}) of their speed, "
               f"without pinning to {without[0]} ({without[1]}–{without[2]}).")  # fmt: skip
    value, low, high = speed(small, "other process")
    yield says(MEASUREMENT, f"in a process of its own leaves them {value} ({low}–{high})")
    value, low, high = speed(large, "pinned")
    yield says(MEASUREMENT, f"a thread costs nothing ({value}, {low}–{high})")
    yield says(MEASUREMENT, f"changed nothing, {speed(small, 'pinned, switching often')[0]})")
