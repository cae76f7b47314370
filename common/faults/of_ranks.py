"""Ranks and loaders that die, stop, or never come."""

from __future__ import annotations

from common.faults.acts import KILL_RANK, KILL_WORKER, PAUSE_RANK, STOP_RANK
from common.faults.fault import Changes, Fault
from common.faults.words import DDP, LONGER, SCRIPT, SINGLE, SMALL

RESTARTS = f"torchrun --standalone --nproc_per_node=2 --max-restarts=1 {SCRIPT} {SMALL} --batch-size 8"
RESTARTS += " --checkpoint-dir $SCRATCH/checkpoints --resume auto"
FAULTS = (
    Fault(
        "rank_killed",
        DDP,
        RESTARTS,
        r"rank 1 .*SIGKILL",
        act=KILL_RANK,
        cured_act=KILL_RANK,
        needs=("linux",),
        on_gpus=Changes(f"{DDP} {LONGER}", f"{RESTARTS} {LONGER}"),
    ),
    Fault(
        "rank_stopped",
        f"{DDP} --timeout 8",
        f"{DDP} --timeout 60",
        r"rank 1 is stopped .* rank 0 waits for it in .* since",
        act=STOP_RANK,
        cured_act=PAUSE_RANK,
        needs=("linux",),
        on_gpus=Changes(f"{DDP} {LONGER} --timeout 8", f"{DDP} {LONGER} --timeout 60"),
    ),
    Fault(
        "loader_worker_killed",
        f"{SINGLE} --workers 1",
        f"{SINGLE} --workers 0",
        r"(DataLoader worker|Pin memory thread) .*loader process has died",
        act=KILL_WORKER,
        needs=("linux",),
        on_gpus=Changes(f"{SINGLE} {LONGER} --workers 1", f"{SINGLE} --workers 0"),
    ),
)
