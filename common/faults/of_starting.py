"""Runs that do not begin: ranks that cannot meet, batches and memory that do not fit."""

from __future__ import annotations

from common.faults.fault import Changes, Fault
from common.faults.words import DDP, DP, SCRIPT, SINGLE, SMALL, TORCHRUN

BY_HAND = "MASTER_ADDR={address} MASTER_PORT={port} WORLD_SIZE={ranks} LOCAL_WORLD_SIZE=2 RANK={rank} LOCAL_RANK={rank}"
RANK = f"python {SCRIPT} {SMALL} --batch-size 8"


def _rank(rank: int, ranks: int = 2, address: str = "127.0.0.1", port: str = "$PORT") -> str:
    """Start one rank without torchrun, as a batch system would."""
    return f"{BY_HAND.format(address=address, port=port, ranks=ranks, rank=rank)} {RANK} --timeout 5"


TORCHRUN_HERE = f"torchrun --master-port=$PORT --nproc_per_node=2 {SCRIPT} {SMALL} --batch-size 8"
LIMITED = "prlimit --as=6442450944"
"""In bytes, for every process that the command starts: what stands in for a small GPU where there is none."""
TOO_LARGE = "--batch-size 8192 --samples-per-epoch 8192 --image-size 64"
FAULTS = (
    Fault(
        "without_torchrun",
        RANK,
        DDP,
        r"started by torchrun",
    ),
    Fault(
        "torchrun_of_one_process",
        f"{TORCHRUN} 03_dataparallel_training.py {SMALL} --batch-size 16",
        f"{DP} --batch-size 16",
        r"torchrun has started several copies of 03_",
    ),
    Fault(
        "wrong_master_address",
        _rank(1, address="nowhere.invalid"),
        DDP,
        r"the ranks cannot meet at nowhere\.invalid",
    ),
    Fault(
        "world_sizes_disagree",
        f"{_rank(0, ranks=2)} & {_rank(1, ranks=3)}; wait",
        f"{_rank(0)} & {_rank(1)} && wait $!",
        r"WORLD_SIZE is . for rank . and . for another rank",
    ),
    Fault(
        "port_in_use",
        f"python -m http.server $PORT >/dev/null 2>&1 & sleep 1; {TORCHRUN_HERE}; kill $!",
        DDP,
        r"address already in use|EADDRINUSE",
    ),
    Fault(
        "batchnorm_one_sample",
        f"{DP} --batch-size 3",
        f"{DP} --batch-size 4",
        r"single image",
    ),
    Fault(
        "out_of_memory",
        f"{LIMITED} {SINGLE} {TOO_LARGE}",
        f"{LIMITED} {SINGLE}",
        r"did not fit \(peak .*--accumulation-steps",
        needs=("prlimit",),
        on_gpus=Changes(f"{SINGLE} --batch-size 65536 --samples-per-epoch 65536 --image-size 224", SINGLE),
    ),
    Fault(
        "dp_out_of_memory",
        f"{LIMITED} {DP} {TOO_LARGE}",
        f"{LIMITED} {DP} --batch-size 16",
        r"did not fit \(peak .*--accumulation-steps",
        needs=("prlimit",),
        on_gpus=Changes(
            f"{DP} --batch-size 131072 --samples-per-epoch 131072 --image-size 224", f"{DP} --batch-size 16"
        ),
    ),
)
