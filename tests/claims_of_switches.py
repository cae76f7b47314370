"""What documents say of switches and options: practice.md, and what exercise and checkpoints take from there."""

from example_figures import (  # fmt: skip
    Claims,
    Example,
    gb,
    ms,
    number,
    of,
    rate,
    ratio_of,
    says,
    times,
    times_both,
    whole,
)

PRACTICE, EXERCISE, CHECKPOINTS = "docs/practice.md", "docs/exercise.md", "docs/checkpoints.md"


@of("h200-practice")
def one_switch_each(e: Example) -> Claims:
    plain, bf16, last, small, sure = (
        e.row("single", precision="tf32", accumulation_steps=1, deterministic=False),
        e.row("single", precision="bf16", memory_format="channels_first"),
        e.row("single", precision="bf16", memory_format="channels_last"),
        e.row("single", accumulation_steps=4),
        e.row("single", deterministic=True),
    )
    peak = {row: gb(row.memory[0].peak_bytes) for row in (plain, bf16, small)}
    yield says(
        PRACTICE,
        "(`02_baseline_single_gpu.py --model resnet50 --batch-size 64 --samples-per-epoch 12800 --epochs 2`, one run "
        f"each, `results/examples/h200-practice`): {rate(plain.throughput)} samples/s and {peak[plain]} in TF32 "
        "without any switch.",
    )
    yield says(
        PRACTICE,
        f"*H200*: bf16 {rate(bf16.throughput)} samples/s, {times(ratio_of(bf16, plain))} times as fast as TF32, and "
        f"{peak[bf16]} instead of {peak[plain]}.",
    )
    yield says(
        PRACTICE,
        f"*H200*: bf16 with channels-last {rate(last.throughput)} samples/s, {times(ratio_of(last, bf16))} times as "
        "fast as bf16 without.",
    )
    yield says(
        PRACTICE,
        f"*H200*: 4 micro-batches of 16 instead of 64 images at once: {rate(small.throughput)} samples/s, "
        f"{times(ratio_of(small, plain))} times as fast, and {peak[small]} instead of {peak[plain]}.",
    )
    yield says(
        PRACTICE,
        (f"*H200*: {rate(sure.throughput)} samples/s, {times(ratio_of(sure, plain))} times as fast as without."),
    )
    yield says(EXERCISE, f"one H200: bf16 {times(ratio_of(bf16, plain))} × tf32, one run each (`h200-practice`)")


@of("h100-ladder")
def ladder(e: Example) -> Claims:
    measured = e.report.ladder
    trials = {(trial.fact, trial.values[-1]): trial for trial in measured.trials}
    names = {
        ("precision", "bf16"): "`--precision bf16` instead of tf32, 64 images",
        ("memory_format", "channels_last"): "`--channels-last`",
        ("per_device_batch_size", 128): "128 images a batch",
        ("per_device_batch_size", 256): "256 images",
        ("per_device_batch_size", 512): "512 images",
    }
    assert set(trials) == set(names)
    assert all(trial.outcome == "kept" for trial in trials.values())
    lines, before = [], measured.first
    for key, name in names.items():
        lines.append(_line(name, before, trials[key].row, times_both(trials[key].quotient)))
        before = trials[key].row
    compiled, prefetched = (e.changed(fact) for fact in ("compile", "prefetch"))
    for name, change in (("`--compile`, 256 images", compiled), ("`--prefetch`, compiled, 256 images", prefetched)):
        lines.append(_line(name, change.other, change.row, times_both(change.quotient)))
    yield says(
        PRACTICE,
        f"(torch 2.11, resnet50, epochs of {measured.first.record.config.samples_per_epoch:,} images, three rounds a "
        "rung; `results/examples/h100-ladder`):",
    )
    head = (
        "| a rung | samples/s before (all its runs) | after | times as fast, by the rounds of both | |---|---|---|---| "
    )
    yield says(PRACTICE, head + " ".join(lines))
    yield says(
        PRACTICE,
        f"With 256 images, compiled, one GPU is {times_both(ratio_of(compiled.row, measured.first))} times as "
        "fast as with the plain command.",
    )
    quotients = [trial.quotient for trial in trials.values()]
    yield says(
        CHECKPOINTS,
        "On one H100 (`h100-ladder`, three rounds in turn): bf16 instead of tf32 "
        f"{times_both(quotients[0])} and channels-last {times_both(quotients[1])}, keep; so are 512 images instead of "
        f"256, {times_both(quotients[-1])}, and `--prefetch`, {times_both(prefetched.quotient)}.",
    )


def _line(name: str, before, after, ratio: str) -> str:
    return f"| {name} | {rate(before.throughput)} | {rate(after.throughput)} | {ratio} |"


@of("h100-ladder-top")
def last_rungs(e: Example) -> Claims:
    fused, searched = (e.changed(fact) for fact in ("fused_optimizer", "cudnn_benchmark"))
    top = e.row("single", compile_mode="reduce-overhead")
    below = e.row("single", samples_per_epoch=102400, compile_mode="default")
    first, beside = e.row("single", precision="tf32"), e.row("single", precision="bf16", global_batch_size=64)
    lines = []
    for name, change in (
        ("`--fused-optimizer`, epochs of 24,576 images", fused),
        ("`--cudnn-benchmark`, the same", searched),
    ):
        assert len(change.row.runs) == 2
        ratio = f"{times(change.quotient)}, two runs: no verdict"
        lines.append(_line(name, change.other, change.row, ratio))
    both = "`--compile-mode reduce-overhead --prefetch`, 102,400 images"
    lines.append(_line(both, below, top, times_both(ratio_of(top, below))))
    yield says(
        PRACTICE,
        "| a rung, from bf16, channels_last, compiled, 256 images | samples/s before (all its runs) | after | times as "
        "fast | |---|---|---|---| " + " ".join(lines),
    )
    assert len(top.runs) == 3
    yield says(
        PRACTICE,
        "on one of four H100s (runs in turn, three rounds, `results/examples/h100-ladder-top`; other jobs ran on the "
        "other GPUs of the host):",
    )
    loads = [whole(max(run.record.environment.load_average_1min for run in row.runs))
             for row in (searched.other, searched.row)]  # fmt: skip
    yield says(
        PRACTICE,
        "Of the runs that count, one without a switch and one with `--cudnn-benchmark` began at load averages of "
        f"{loads[0]} and {loads[1]}.",
    )
    losses = [f"{start:.2f}, then {end:.3f}" for start, end in map(_losses, (beside, first))]
    yield says(
        PRACTICE,
        f"The top, {rate(top.throughput)} samples/s, is {times(ratio_of(top, first))} times the plain command's "
        f"{rate(first.throughput)} there (one run). Its switches, at the first batch, train as the first rung does: "
        f"after epochs of 24,576 images at batch 64 the loss is {losses[0]} (plain command: {losses[1]}).",
    )
    ends = [[_losses_of(run)[-1] for run in row.runs] for row in (searched.other, searched.row)]
    assert (len(ends[0]), len(set(ends[0]))) == (8, 1)
    yield says(
        PRACTICE,
        f"After two epochs of 24,576 images at batch 256 the loss was {ends[0][0]:.2f} in each of eight runs without "
        f"`--cudnn-benchmark`, bit for bit, and {ends[1][0]:.2f} and {ends[1][1]:.2f} in the two with it "
        "(`h100-ladder-top`).",
    )


def _losses(row) -> list[float]:
    return _losses_of(row.runs[-1])


def _losses_of(run) -> list[float]:
    return [epoch.mean_loss for epoch in run.record.epochs]


@of("h200x2-sweep")
def sweep(e: Example) -> Claims:
    effects = {effect.row.options: effect for part in e.report.groups for effect in part.effects}
    ratio = {options: times(effect.quotient) for options, effect in effects.items()}
    more = {whole(effects[f"--comm-hook {hook}"].bytes_more / 2**20) for hook in ("fp16", "bf16")}
    assert not any(effect.quotient.interval for effect in effects.values())
    yield says(
        PRACTICE,
        "(`make sweep`: resnet50, tf32, 64 per GPU, 200 steps, one or two runs each, `results/examples/h200x2-sweep`), "
        "where overlap hides most of the exchange, so few runs allow no verdict. Times as fast as the default: "
        f"`--static-graph` {ratio['--static-graph']}, `--find-unused-parameters` {ratio['--find-unused-parameters']}, "
        f"`--no-gradient-as-bucket-view` {ratio['--no-gradient-as-bucket-view']}, `--broadcast-buffers` "
        f"{ratio['--broadcast-buffers']}, `--one-bucket` {ratio['--one-bucket']}, `--comm-hook fp16` "
        f"{ratio['--comm-hook fp16']} and `bf16` {ratio['--comm-hook bf16']}, which hold {' or '.join(more)} MiB more, "
        f"`--comm-hook powersgd --one-bucket` {ratio['--one-bucket --comm-hook powersgd']}.",
    )


@of("h200x2-exchanges")
def exchanges(e: Example) -> Claims:
    steps = {row.options: [ms(run.times.typical_step) for run in row.runs] for row in e.rows()}
    each = steps["--exchange per-parameter"]
    yield says(
        PRACTICE,
        "`make exchanges` there (`results/examples/h200x2-exchanges`, one or two runs): a median step takes "
        f"{number(1e3 * e.ddp.typical_step)} ms with torch's DDP, {steps['--exchange flat'][0]} with `flat`, "
        f"{steps['--exchange overlapped'][0]} with `overlapped`, {each[0]} and {each[1]} in two runs of "
        "`per-parameter`.",
    )
