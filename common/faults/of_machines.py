"""Machines that are slower or smaller than they seem: cores, links, shared memory, GPUs."""

from __future__ import annotations

from common.faults.acts import CROWD, THROTTLE_RANK
from common.faults.fault import Fault
from common.faults.words import DDP, REPORT, SCRIPT, SINGLE, SMALL, TORCHRUN

WITH_ANATOMY = "--samples-per-epoch 160 --epochs 1 --anatomy-steps 6"
LIGHT = "--model shufflenet_v2_x0_5 --samples-per-epoch 160 --epochs 1 --anatomy-steps 6"
OWN_NETWORK = (
    "unshare --map-root-user --net sh -c 'ip link set lo up && {limit}GLOO_SOCKET_IFNAME=lo {run}' && {report}"
)
LIMIT = "tc qdisc add dev lo root tbf rate 200mbit burst 256kb latency 50ms && "
SMALL_SHM = "unshare --map-root-user --mount sh -c 'mount -t tmpfs -o size=64k tmpfs /dev/shm && {run}'"
RESNET50 = f"{TORCHRUN} {SCRIPT} {SMALL} --model resnet50 --samples-per-epoch 3200 --batch-size 16"
FAULTS = (
    Fault(
        "slow_rank",
        f"{DDP} {WITH_ANATOMY} && {REPORT}",
        f"{DDP} {WITH_ANATOMY} && {REPORT}",
        r"Find out what slows rank 1",
        act=THROTTLE_RANK,
        needs=("linux",),
    ),
    Fault(
        "slow_link",
        OWN_NETWORK.format(limit=LIMIT, run=f"{DDP} {LIGHT}", report=REPORT),
        OWN_NETWORK.format(limit="", run=f"{DDP} {LIGHT}", report=REPORT),
        r"Exchange gradients less often",
        needs=("traffic_control",),
    ),
    Fault(
        "busy_neighbour",
        f"{SINGLE} --samples-per-epoch 48",
        f"{SINGLE} --samples-per-epoch 48",
        r"waited for a core ([789]\d|100)%",
        act=CROWD,
        needs=("linux",),
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
        f"NCCL_P2P_DISABLE=1 {RESNET50} && {RESNET50} && {REPORT}",
        f"{RESNET50} && {REPORT}",
        r"(?i)transport.*NCCL_P2P_DISABLE",
        needs=("two_gpus",),
    ),
)
