"""How far predictions are off: recorded GPU examples, and links of set bandwidth between network namespaces.

    python benchmarks/prediction_error.py --examples      # the records in results/examples: half a minute
    python benchmarks/prediction_error.py --links         # measures on this machine: about ten minutes on two cores

A prediction knows step 01 and a run of step 02, and none of what it is compared with. Examples from before readiness,
replicas and convolutions were recorded get what the model alone says (the order and sizes of its gradients, its
different convolutions), gradients that are complete evenly over the backward pass, and for a replica SECONDS_A_MODULE.
Links need root, iproute2 and no other program on the cores; they are skipped, and that is said, where that is missing.
Errors are of the mean step, as of the throughput that the page shows: predicted / measured - 1. Beside each stands that
of the naive prediction: a step takes what one device's takes. `--csv FILE` keeps the table.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean, median

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import pandas as pd
from conftest import ROOT
from namespaces import link, missing_here, start

from common.analysis.comparing.groups import compare_runs
from common.analysis.predicting.forecast import GroupForecast, forecast
from common.analysis.predicting.inputs import Link, Question
from common.analysis.predicting.parallel_steps import PredictedStep
from common.analysis.reading.folder import Folder, read_record
from common.analysis.reading.runs import summarise
from common.records import EnvironmentRecord, Gradients, Record

EXAMPLES = ROOT / "results" / "examples"
CASES = {
    "2 H100s, NVLink": ("h100x2", "h100x2", "h100x2"),
    "2 H100s, NVLink, short epochs": ("h100x2-lab", "h100x2-lab", "h100x2-lab"),
    "2 H100s, NVLink, another host": ("h100x2-ledger", "h100x2-ledger", "h100x2-ledger"),
    "2 H100s, three batches": ("h100x2-ledger", "h100x2-crossover", "h100x2-crossover"),
    "2 H100s, no peer access": ("h100x2-no-peer", "h100x2-ledger", "h100x2-no-peer"),
    "4 H200s": ("h200x4", "h200x4", "h200x4"),
    "2 H200s": ("h200x2-batch256", "h200x2-batch256", "h200x2-batch256"),
    "2 H200s, four batches": ("h200x2-batch256", "h200x2-crossover", "h200x2-crossover"),
    "2 H100s, launch-bound": ("h100x2-launch-bound", "h100x2-launch-bound", "h100x2-launch-bound"),
    "2 CPU cores": ("cpu", "cpu", "cpu"),
}
"""The folders that step 01, step 02, and what was measured come from."""
SECONDS_A_MODULE = 0.0133 / 2 / 152
"""A replica of vit_b_16 on two H100s: 13.3 ms for two of 152 modules (results/examples/h100x2-vit). The other examples
are another model's."""
MODELS_SEEN: dict[tuple[str, int, int], tuple[list[int], int, int]] = {}
"""What `of_model` found, by name, classes and pixels."""
MODELS = {
    ("squeezenet1_1", 64, 16): (20, 50, 200),
    ("mobilenet_v3_small", 64, 32): (50, 200),
    ("resnet18", 32, 16): (200, 1000),
}
"""Name, pixels, images per device: rates of the link in Mbit/s."""
PAYLOAD = 8948 / 9014
"""Of a frame of 9,000 bytes: IP, TCP and Ethernet take the rest."""
STEPS = 8


def main() -> None:
    args = _arguments()
    lines = []
    if args.examples or not args.links:
        lines += [line for name, folders in CASES.items() for line in example(name, folders)]
    if args.links or not args.examples:
        lines += over_links(args)
    table = pd.DataFrame(lines)
    pd.set_option("display.width", 200, "display.max_columns", 20, "display.precision", 4)
    print(table.to_string(index=False))
    for method, own in table.groupby("method"):
        sizes, naive = own["error"].abs(), own["naive_error"].abs()
        print(f"{method}: {len(own)} cases, mean error {sizes.mean():.1%}, worst {sizes.max():.1%}, "
              f"{own['is_covered'].sum()} within their range; "
              f"naive: mean {naive.mean():.1%}, worst {naive.max():.1%}")  # fmt: skip
    if args.csv:
        table.to_csv(args.csv, index=False)


def example(name: str, folders: tuple[str, str, str]) -> list[dict]:
    """All predictions of one set of records that were measured, too."""
    probed, single, measured = (records_of(EXAMPLES / folder) for folder in folders)
    records = [record for record in probed if isinstance(record, EnvironmentRecord) and record.probes]
    records += [completed(record) for record in single if getattr(record, "method", "") == "single"]
    records += [record for record in measured if getattr(record, "method", "") in ("dp", "ddp")]
    return scores(name, records, Question())


def scores(case: str, records: list, question: Question) -> list[dict]:
    runs = [summarise(record.run_id, record) for record in records if isinstance(record, Record)]
    probed = [record for record in records if isinstance(record, EnvironmentRecord)]
    forecasts = [forecast(group, question) for group in compare_runs(Folder(runs, probed=probed)).groups]
    return [
        line(f"{case}, {_batch(made)} each", one.method, one.devices, one.step, one.measured_step, made.basis.step)
        for made in forecasts if made for one in made.forecasts if one.measured_step
    ]  # fmt: skip


def _batch(forecast: GroupForecast) -> int:
    return forecast.basis.row.record.config.per_device_batch_size


def line(case: str, method: str, devices: int, step: PredictedStep, measured: float, one_device: float) -> dict:
    return {
        "case": case, "method": method, "devices": devices, "predicted_ms": 1e3 * step.seconds,
        "low_ms": 1e3 * step.low, "high_ms": 1e3 * step.high, "measured_ms": 1e3 * measured,
        "error": step.seconds / measured - 1, "naive_error": one_device / measured - 1,
        "is_covered": step.low <= measured <= step.high, "is_late_host": step.is_late_host,
    }  # fmt: skip


def completed(record):
    """A record of one device with what its model says, where it is older than that."""
    if not isinstance(record, Record) or record.method != "single" or not record.anatomy or record.anatomy.gradients:
        return record
    config = record.config
    key = (config.model, config.num_classes, config.image_size)
    sizes, shapes, modules = MODELS_SEEN[key] = MODELS_SEEN.get(key) or of_model(config)
    backward, total, done, ready = median(record.anatomy.ranks[0].phases["backward"]), sum(sizes), 0, []
    for size in sizes:
        done += size
        ready.append(backward * done / total)
    record.anatomy.gradients = Gradients(bytes=sizes, ready_seconds=ready, backward_seconds=backward)
    record.anatomy.different_convolutions = shapes
    if record.world.device_kind == "cuda":
        record.anatomy.replicate_seconds = [SECONDS_A_MODULE * modules] * 6
    return record


def of_model(config) -> tuple[list[int], int, int]:
    """Gradients' bytes in the order of completion, different convolutions, modules: by one pass of two images."""
    import torch

    from common.examining.instruments import readiness
    from common.examining.one_device import convolutions
    from common.machine.devices import one_device
    from common.training.models import create_model, create_workload

    small = config.model_copy(update={"precision": "ieee-fp32", "image_size": min(config.image_size, 224)})
    model = create_model(create_workload(small), small, one_device("cpu"))
    images = torch.zeros(2, 3, small.image_size, small.image_size, dtype=torch.uint8)
    with readiness(model) as order, convolutions(model) as shapes:
        model.loss(model(images), torch.zeros(2, dtype=torch.int64)).backward()
    return [parameter.nbytes for parameter in order], len(shapes), len(list(model.modules()))


def over_links(args: argparse.Namespace) -> list[dict]:
    """Measure step 02 and step 04 between namespaces, and compare."""
    if missing_here():
        print(f"links: skipped, needs root and iproute2 (missing: {missing_here()})")
        return []
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        script("01_environment_check.py", "--results-dir", results / "01")
        (probed,) = records_of(results / "01")
        for (model, pixels, batch), rates in MODELS.items():
            size = ["--model", model, "--image-size", pixels, "--batch-size", batch, "--epochs", "1"]
            size += ["--uncounted-steps", "2", "--quiet"]
            own, measured = results / model, []
            single = ["02_baseline_single_gpu.py", *size, "--samples-per-epoch", batch * STEPS, "--results-dir", own]
            script(*single)
            for nodes in args.nodes:
                for rate in rates:
                    where = results / f"{model}-{rate}-{nodes}"
                    samples = ["--samples-per-epoch", batch * STEPS * nodes, "--anatomy-steps", "0"]
                    together(rate * 10**6, nodes, "04_ddp_training.py", *size, *samples, "--results-dir", where)
                    measured.append((rate, nodes, records_of(where)[0]))
            script(*single)  # again: cores drift
            known = [probed, *records_of(own)]
            lines += [compare_link(model, rate, nodes, known, record) for rate, nodes, record in measured]
            print(*lines[-len(measured) :], sep="\n", flush=True)
    return lines


def compare_link(model: str, rate: int, nodes: int, known: list, measured: Record) -> dict:
    """The software's share of a latency is that of step 01's quickest message, two of which it takes on two ranks."""
    probed = known[0].probes.all_reduce
    latency = min(time.seconds for time in probed.times if time.seconds) / (2 * (probed.ranks - 1))
    question = Question((nodes,), Link(PAYLOAD * rate * 1e6 / 8, latency, f"{rate} Mbit/s"))
    runs = [summarise(record.run_id, record) for record in known[1:]]
    (of_group,) = [forecast(group, question) for group in compare_runs(Folder(runs, probed=known[:1])).groups]
    step, mean = of_group.forecasts[0].step, fmean(measured.measured_steps)
    return line(f"{model}, {rate} Mbit/s", "ddp", nodes, step, mean, of_group.basis.step)


def script(*arguments: object) -> None:
    done = subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{arguments[0]}: {done.stderr}")


def together(rate: int, nodes: int, *arguments: object) -> None:
    with link(rate, nodes) as names:
        processes = [start(names, number, *map(str, arguments)) for number in range(nodes)]
        output = [process.communicate(timeout=600)[0] for process in processes]
    if any(process.returncode for process in processes):
        sys.exit("\n".join(output))


def records_of(folder: Path) -> list:
    return [read_record(path) for path in sorted(folder.glob("*.json"))]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", action="store_true", help="the recorded examples alone")
    parser.add_argument("--links", action="store_true", help="links between namespaces alone")
    parser.add_argument("--nodes", type=int, nargs="+", default=[2], help="nodes, one device each (default: 2)")
    parser.add_argument("--csv", type=Path, help="write the table there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
