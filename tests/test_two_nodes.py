"""Two nodes on one machine: network namespaces joined by a link of known bandwidth. Needs root and iproute2."""

import os
import shutil
import subprocess
import sys
from itertools import chain
from statistics import median

import pytest
from conftest import ROOT, environment, records_in

NODES = ("labnode0", "labnode1")
ADDRESSES = ("10.77.0.1", "10.77.0.2")
GRADIENT_BYTES = 4 * 11_689_512  # resnet18


def ip(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True)


@pytest.fixture
def link():
    """Two namespaces with a veth pair between them; the value sets its rate, in bits per second, both ways."""
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("tc"):
        pytest.skip("needs root and iproute2 to join two network namespaces")
    remove()
    try:
        for node in NODES:
            ip("netns", "add", node)
        ip("link", "add", "labveth0", "netns", NODES[0], "type", "veth", "peer", "name", "labveth1", "netns", NODES[1])
        for number, (node, address) in enumerate(zip(NODES, ADDRESSES, strict=True)):
            ip("-n", node, "addr", "add", f"{address}/24", "dev", f"labveth{number}")
            # Large frames: of small ones headers take 5 %, and the cores that send them are the ones that train.
            ip("-n", node, "link", "set", f"labveth{number}", "mtu", "9000", "up")
            ip("-n", node, "link", "set", "lo", "up")
    except subprocess.CalledProcessError as error:
        remove()
        pytest.skip(f"this kernel does not let network namespaces be joined: {error.stderr.strip()}")
    yield limit
    remove()


def limit(bits_per_second: int) -> None:
    for number, node in enumerate(NODES):
        bucket = ["tbf", "rate", f"{bits_per_second}bit", "burst", "256kb", "latency", "50ms"]
        command = ["tc", "-n", node, "qdisc", "replace", "dev", f"labveth{number}", "root", *bucket]
        subprocess.run(command, check=True, capture_output=True)


def remove() -> None:
    for node in NODES:
        subprocess.run(["ip", "netns", "del", node], capture_output=True)  # not there: nothing to remove


def train_on_both(folder) -> dict:
    """Step 04 as two nodes of one rank each, started by hand as on two machines; rank 0's record."""
    arguments = "--model resnet18 --image-size 32 --batch-size 4 --samples-per-epoch 16 --epochs 1 --anatomy-steps 4"
    rendezvous = [f"--master_addr={ADDRESSES[0]}", "--master_port=29511"]
    processes = []
    for number, node in enumerate(NODES):
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", f"--node_rank={number}"]
        training = [str(ROOT / "04_ddp_training.py"), *arguments.split(), "--results-dir", str(folder)]
        process = subprocess.Popen(
            ["ip", "netns", "exec", node, *torchrun, "--nproc_per_node=1", *rendezvous, *training],
            env=environment(GLOO_SOCKET_IFNAME=f"labveth{number}"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
    output = [process.communicate(timeout=180)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(output)
    (record,) = records_in(folder)
    return record


@pytest.mark.parametrize("bits_per_second", [1_000_000_000, 300_000_000])
def test_communication_is_what_the_link_allows(link, tmp_path, bits_per_second):
    """Within 15 % of the ring's S · 2(n − 1)/n bytes over the link's rate."""
    link(bits_per_second)
    record = train_on_both(tmp_path)
    assert (record["world"]["nodes"], record["world"]["processes"]) == (2, 2)
    expected = GRADIENT_BYTES * 2 * (2 - 1) / 2 * 8 / bits_per_second
    ranks = record["anatomy"]["ranks"]
    measured = median(chain.from_iterable(rank["communication_seconds"] for rank in ranks))
    assert measured == pytest.approx(expected, rel=0.15)
    exposed = median(ranks[0]["exchange_on_seconds"]) - median(ranks[0]["exchange_off_seconds"])
    assert exposed == pytest.approx(expected, rel=0.15)  # next to nothing to hide it behind
