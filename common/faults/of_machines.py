"""Machines that are slower or smaller than they seem: cores, links, shared memory, GPUs."""

from __future__ import annotations

import os

from common.faults.acts import CROWD, THROTTLE_RANK
from common.faults.fault import Changes, Fault
from common.faults.words import DDP, LONGER, REPORT, SCRIPT, SINGLE, SMALL, TORCHRUN

WITH_ANATOMY = "--samples-per-epoch 160 --epochs 1 --anatomy-steps 6"
ONE_CORE = f"taskset -c {min(getattr(os, 'sched_getaffinity', lambda pid: [0])(0))}"
"""For GPUs: a host has so many cores that four times as many programs still leave one free now and then."""
DEEP = f"{WITH_ANATOMY} --model resnet152"
"""For GPUs: a step takes longer than a slice of `THROTTLE_RANK`."""
LIGHT = "--model shufflenet_v2_x0_5 --samples-per-epoch 160 --epochs 1 --anatomy-steps 6"
OWN_NETWORK = (
    "unshare --map-root-user --net sh -c 'ip link set lo up && {limit}GLOO_SOCKET_IFNAME=lo {run}' && {report}"
)
LIMIT = "tc qdisc add dev lo root tbf rate {rate} burst {burst} latency 50ms && "
CORES_LIMIT, GPUS_LIMIT = LIMIT.format(rate="200mbit", burst="256kb"), LIMIT.format(rate="1gbit", burst="1mb")
BY_NETWORK = "NCCL_P2P_DISABLE=1 NCCL_SHM_DISABLE=1 NCCL_IB_DISABLE=1 NCCL_SOCKET_IFNAME=lo "
"""GPUs of one host have quicker ways to each other."""
SMALL_SHM = "unshare --map-root-user --mount sh -c 'mount -t tmpfs -o size=64k tmpfs /dev/shm && {run}'"
FILLED = "--image-size 224 --batch-size 64 --samples-per-epoch 1280 --epochs 1 --anatomy-steps 6"
"""Steps that are bound by a GPU, and not by launches."""
VGG = f"{TORCHRUN} {SCRIPT} {SMALL} --model vgg11 --samples-per-epoch 1600 --batch-size 16 --workers 0 --warmup-steps 3"
"""Gradients of 0.5 GB after little work."""
FAULTS = (
    Fault(
        "slow_rank",
        f"{DDP} {WITH_ANATOMY} && {REPORT}",
        f"{DDP} {WITH_ANATOMY} && {REPORT}",
        r"Find out what slows rank 1",
        act=THROTTLE_RANK,
        needs=("linux",),
        on_gpus=Changes(f"{DDP} {DEEP} && {REPORT}", f"{DDP} {DEEP} && {REPORT}"),
    ),
    Fault(
        "slow_link",
        OWN_NETWORK.format(limit=CORES_LIMIT, run=f"{DDP} {LIGHT}", report=REPORT),
        OWN_NETWORK.format(limit="", run=f"{DDP} {LIGHT}", report=REPORT),
        r"Exchange gradients less often",
        needs=("traffic_control",),
        on_gpus=Changes(
            OWN_NETWORK.format(limit=GPUS_LIMIT, run=f"{BY_NETWORK}{DDP} {FILLED}", report=REPORT),
            OWN_NETWORK.format(limit="", run=f"{DDP} {FILLED} --results-dir $SCRATCH/cured", report=REPORT)
            + " --results-dir $SCRATCH/cured",
        ),
    ),
    Fault(
        "busy_neighbour",
        f"{SINGLE} --samples-per-epoch 48",
        f"{SINGLE} --samples-per-epoch 48",
        r"waited for a core ([789]\d|100)%",
        act=CROWD,
        needs=("linux",),
        on_gpus=Changes(
            f"{ONE_CORE} {SINGLE} {LONGER} --workers 0",
            f"{ONE_CORE} {SINGLE} {LONGER} --workers 0",
            # Who waits for a GPU in between gets the core sooner than its share.
            r"waited for a core ([3-9]\d|100)%",
        ),
    ),
    Fault(
        "shm_too_small",
        SMALL_SHM.format(run=f"{SINGLE} --image-size 64 --workers 1"),
        SMALL_SHM.format(run=f"{SINGLE} --image-size 64 --workers 0"),
        r"error: --workers 1: /dev/shm has",
        needs=("namespaces",),
    ),
    Fault(
        "two_ranks_one_gpu",
        f"CUDA_VISIBLE_DEVICES=0 {TORCHRUN} -m faults.two_ranks_one_gpu",
        f"CUDA_VISIBLE_DEVICES=0 {TORCHRUN} -m faults.two_ranks_one_gpu --right",
        r"Duplicate GPU detected",
        needs=("gpu",),
    ),
    Fault(
        "no_peer_access",
        f"NCCL_P2P_DISABLE=1 {VGG} && {VGG} && {REPORT}",
        f"{VGG} --results-dir $SCRATCH/cured && {REPORT} --results-dir $SCRATCH/cured",
        r"(?i)transport.*NCCL_P2P_DISABLE.* times as fast",
        needs=("two_gpus",),
    ),
)
