"""What README and the documents of the lesson say of methods that were compared on GPUs and on cores."""

from datetime import datetime

from example_figures import Claims, Example, gib, ms, number, of, percent, says, times, times_ends, us

README, CHINESE, SETUP, CHINESE_SETUP, EXERCISE, CHECKPOINTS, VERIFIED, MEASUREMENT = (
    "README.md", "README.zh-TW.md", "docs/setup.md", "docs/setup.zh-TW.md",
    "docs/exercise.md", "docs/checkpoints.md", "docs/verified.md",
    "docs/measurement.md",
)  # fmt: skip


@of("h100x2-ledger", "h100x2-lab", "h100x2", "h200x4")
def headline(e: Example, lab: Example, first: Example, four: Example) -> Claims:
    one, ddp, dp = (row.speed_up for row in (lab.dp, e.ddp, e.dp))
    two, ddp4, dp4 = (row.speed_up for row in (first.dp, four.ddp, four.dp))
    yield says(
        README,
        f"On two H100s, resnet50 and 64 images per GPU, DDP trained {times(ddp)} times as fast as one GPU "
        f"({times_ends(ddp)}); DP {times(dp)} times, which is too uncertain to tell ({times_ends(dp)}; on two other "
        f"machines of that kind {times(one)} and {times(two)}). On four H200s DDP was {times(ddp4)} times as fast, DP "
        f"{times(dp4)} times ({times_ends(dp4)}), about as fast as one GPU:",
    )
    yield says(
        CHINESE,
        f"DDP 的訓練速度是單一 GPU 的 {times(ddp)} 倍（{times_ends(ddp)}）；DP 是 {times(dp)} 倍，但不確定性太大，無法"
        f"判斷（{times_ends(dp)}；在另外兩台同類的機器上是 {times(one)} 與 {times(two)} 倍）。在四個 H200 上，DDP 是 "
        f"{times(ddp4)} 倍，DP 是 {times(dp4)} 倍（{times_ends(dp4)}），與單一 GPU 差不多快：",
    )


@of("h200-lab")
def one_gpu(e: Example) -> Claims:
    dp, ddp = e.dp.speed_up, e.ddp.speed_up
    yield says(
        VERIFIED,
        f"DP × 1 was {times(dp)} times as fast as the plain loop ({times_ends(dp)}), DDP × 1 {times(ddp)} times "
        f"({times_ends(ddp)}) (`results/examples/h200-lab`)",
    )


@of("h100x2-ledger")
def breakdown_elsewhere(e: Example) -> Claims:
    profile, moved = e.dp.profile, e.dp.profile.bytes_moved
    threads, replicas = ms(profile.replicated.threads_cost), ms(profile.replicated.replicas_cost)
    whole_step, ideal = ms(e.dp.step), e.breakdown("dp").ideal.value
    yield says(
        CHECKPOINTS,
        f"On two H100s a launch took {us(e.launches.alone_seconds)} µs from one thread, "
        f"{us(e.launches.threads_seconds)} µs from each of two threads at once, {us(e.launches.processes_seconds)} µs "
        "from each of two processes (`h100x2-ledger`)",
    )
    yield says(CHECKPOINTS, f"That was {threads} ms of a step of {whole_step} ms there.")
    mega = {name: number(size / 1e6) for name, size in moved.items()}
    total = number(sum(moved.values()) / 1e6)
    yield says(
        CHECKPOINTS,
        f"DP moved {total} MB a step: batch ({mega['scatter']}), model ({mega['replicate']}), outputs "
        f"({number(moved['gather'] / 1e6)}), gradients ({mega['reduce']})",
    )
    yield says(
        CHECKPOINTS,
        f"On two H100s (`h100x2-ledger`): an ideal step of {ms(ideal)} ms and {ms(e.bytes_alone)} ms for {total} MB "
        f"over the link make {ms(ideal + e.bytes_alone)} ms; measured: {whole_step} ms. The prediction is off by "
        f"{percent((ideal + e.bytes_alone) / e.dp.step.value - 1)} %, because what DP loses is the "
        f"host's work: starting new threads {threads} ms, making new replicas {replicas} ms.",
    )
    forecast = next(one for one in e.report.forecasts[0][1].forecasts if one.method == "ddp" and one.measured)
    yield says(
        CHECKPOINTS,
        (f"DDP's step was predicted with an error of {number(100 * forecast.error)[:4]} % (`h100x2-ledger`)."),
    )
    yield says(
        CHECKPOINTS,
        f"for `h100x2-ledger` DDP, {times(e.ddp.speed_up)} times as fast as one GPU ({times_ends(e.ddp.speed_up)}), "
        f"where DP is too uncertain to tell ({times_ends(e.dp.speed_up)}).",
    )
    exposed, buckets = e.ddp.profile.exposed, e.ddp.profile.bucket_bytes
    yield says(
        EXERCISE,
        f"memory {gib(e.ddp.memory[0].peak_bytes)} GiB on both H100s; {number(sum(buckets) / 1e6)} MB of gradients in "
        f"{'five' if len(buckets) == 5 else len(buckets)} messages, {ms(exposed)} ms of a step after overlap, DDP's "
        "own work included (`h100x2-ledger`)",
    )
    yield says(
        VERIFIED,
        f"Steps timed phase by phase took as long there as measured ones (`h100x2-ledger`, medians): "
        f"{ms(e.ddp.profile.slowest.step)} and {ms(e.ddp.typical_step)} ms under DDP, {ms(profile.slowest.step)} and "
        f"{ms(e.dp.typical_step)} under DP, {ms(e.one.profile.slowest.step)} and {ms(e.one.typical_step)} on one GPU.",
    )
    yield says(
        MEASUREMENT,
        f"(`results/examples/h100x2-ledger`): {e.pair(e.ddp, 2)}, {e.pair(e.dp, 1)}, {e.pair(e.one, 2)} ms.",
    )


@of("h100x2", "h100x2-crossover")
def efficiencies(e: Example, large: Example) -> Claims:
    peaks = [gib(peak.peak_bytes) for peak in e.dp.memory]
    strong = [e.report.groups[1].group.rows[place].speed_up for place in (1, 2)]
    yield says(
        EXERCISE,
        f"On two H100s it was {percent(e.dp.efficiency)} % with 64 images per GPU ({times(e.dp.speed_up)} times as "
        f"fast as one GPU, `h100x2`), and {percent(large.dp.efficiency)} % with 128 ({times(large.dp.speed_up)} "
        "times, one run, `h100x2-crossover`): it depends on the batch and on the host. DDP reached "
        f"{percent(e.ddp.efficiency)} and {percent(large.ddp.efficiency)} % there.",
    )
    yield says(EXERCISE, f"resnet50, 64 images per GPU, two H100s: {peaks[0]} and {peaks[1]} GiB")
    yield says(
        CHECKPOINTS,
        f"On two H100s (`h100x2`) DDP was {times(e.ddp.speed_up)} times as fast as one GPU in weak scaling and "
        f"{times(strong[1])} times in strong (one run), DP {times(e.dp.speed_up)} and {times(strong[0])} times.",
    )


@of("h100x2-memory")
def large_outputs(e: Example) -> Claims:
    first, other = (gib(peak.peak_bytes) for peak in e.dp.memory)
    yield says(EXERCISE, f"resnet18 with 100,000 classes, {first} and {other} GiB")
    yield says(MEASUREMENT, f"{first} GiB on device 0, {other} on device 1")


def _seconds(start: str, end: str) -> int:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).seconds


@of("cpu", "h100x2-ledger")
def minutes(e: Example, gpus: Example) -> Claims:
    minutes, seconds = divmod(_seconds(e.probed_at, e.runs[-1].finished_at), 60)
    spans = [[_seconds(record.started_at, record.finished_at) for record in one.runs] for one in (gpus, e)]
    (low, high), (low_of_cores, high_of_cores) = ((min(own), max(own)) for own in spans)
    yield says(
        CHECKPOINTS,
        f"on two CPU cores its records are {minutes} min {seconds} s apart (`cpu`). One launch of 02, 03 or 04 with "
        f"these sizes takes {low} to {high} s on the H100s and {low_of_cores} to {high_of_cores} s on the two cores, "
        "from the record's first moment to its last.",
    )
    yield says(SETUP, f"on two CPU cores the time from the first record to the last was {minutes} min {seconds} s.")
    yield says(CHINESE_SETUP, f"在兩個 CPU 核心上，從第一份紀錄到最後一份相隔 {minutes} 分 {seconds} 秒。")


@of("cpu")
def cores(e: Example) -> Claims:
    yield says(
        CHECKPOINTS,
        "On CPU cores nothing is copied, and bandwidth alone predicts that DP costs nothing: "
        f"{ms(e.breakdown('dp').ideal)} ms, where {ms(e.dp.step)} ms were measured (`cpu`).",
    )
