"""Two nodes on one machine: network namespaces joined by a link of known bandwidth. Needs root and iproute2."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from threading import Timer

import pytest
from conftest import ROOT, environment, records_in

NODES = ("labnode0", "labnode1")
ADDRESSES = ("10.77.0.1", "10.77.0.2")
BITS_PER_SECOND = (100_000_000, 60_000_000)
# Few gradients over slow links: the time is the links', and not that of the cores, which send, receive and train.
MODEL, GRADIENT_BYTES = "squeezenet1_1", 4 * 1_235_496
TRAINING = f"--model {MODEL} --image-size 32 --batch-size 4 --samples-per-epoch 8 --epochs 1 --warmup-steps 1"


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> dict[int, dict]:
    """Rank 0's record of a training over each link. Both train at once: what takes long is waiting for the links."""
    missing = [program for program in ("ip", "tc", "unshare", "hostname") if not shutil.which(program)]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"needs root and iproute2 to join two network namespaces (missing: {', '.join(missing) or 'root'})")
    folders = {rate: tmp_path_factory.mktemp("results") for rate in BITS_PER_SECOND}
    with ExitStack() as links:
        try:
            namespaces = {rate: links.enter_context(link(rate)) for rate in BITS_PER_SECOND}
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this kernel does not let namespaces be made and joined: {error.stderr.strip()}")
        training = ["04_ddp_training.py", *TRAINING.split(), "--anatomy-steps", "3", "--results-dir"]
        processes = [
            start(namespace, number, *training, str(folders[rate]))
            for rate in BITS_PER_SECOND
            for number, namespace in enumerate(namespaces[rate])
        ]
        alarm = Timer(180, lambda: [process.terminate() for process in processes])  # torchrun then ends its rank, too
        alarm.start()
        output = [process.communicate()[0] for process in processes]
        alarm.cancel()
    assert [process.returncode for process in processes] == [0] * 4, "\n".join(output)
    return {rate: one_record(folder) for rate, folder in folders.items()}


@contextmanager
def link(bits_per_second: int) -> Iterator[tuple[str, str]]:
    """Two namespaces with a veth pair between them, which carries so much each way."""
    # Namespaces belong to the machine: another link, and another test run, may have theirs.
    namespaces = tuple(f"{node}-{os.getpid()}-{bits_per_second}" for node in NODES)
    first, second = namespaces
    bucket = ["tbf", "rate", f"{bits_per_second}bit", "burst", "64kb", "latency", "50ms"]
    try:
        for namespace in namespaces:
            run("ip", "netns", "add", namespace)
        run("ip", "link", "add", "veth0", "netns", first, "type", "veth", "peer", "name", "veth1", "netns", second)
        for number, namespace in enumerate(namespaces):
            run("ip", "-n", namespace, "addr", "add", f"{ADDRESSES[number]}/24", "dev", f"veth{number}")
            # Large frames: of small ones headers take 5 %, and the cores that send them are the ones that train.
            run("ip", "-n", namespace, "link", "set", f"veth{number}", "mtu", "9000", "up")
            run("ip", "-n", namespace, "link", "set", "lo", "up")
            run("tc", "-n", namespace, "qdisc", "replace", "dev", f"veth{number}", "root", *bucket)
            run("ip", "netns", "exec", namespace, "unshare", "--uts", "hostname", NODES[number])
        yield namespaces
    finally:
        for namespace in namespaces:
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True)  # not there: nothing to remove


def run(*command: str) -> None:
    subprocess.run(command, capture_output=True, text=True, check=True)


def start(namespace: str, number: int, script: str, *arguments: str) -> subprocess.Popen:
    """A script under torchrun on one of two nodes, which meet by c10d's rendezvous on the first of them.

    Their host names are theirs alone, and no name service knows them: hence `is_host` and `--local-addr`.
    """
    named = ["unshare", "--uts", "sh", "-c", f'hostname {NODES[number]}; exec "$@"', "sh"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1", "--rdzv-id=lab"]
    torchrun += ["--rdzv-backend=c10d", f"--rdzv-endpoint={ADDRESSES[0]}:29511", f"--local-addr={ADDRESSES[number]}"]
    torchrun += [f"--rdzv-conf=is_host={int(number == 0)}"]
    return subprocess.Popen(
        ["ip", "netns", "exec", namespace, *named, *torchrun, str(ROOT / script), *arguments],
        env=environment(GLOO_SOCKET_IFNAME=f"veth{number}"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def one_record(folder: Path) -> dict:
    (record,) = records_in(folder)
    return record


@pytest.mark.parametrize("bits_per_second", BITS_PER_SECOND)
def test_communication_is_what_the_link_allows(records, bits_per_second):
    """Within 15 % of the ring's S · 2(n − 1)/n bytes over the link's rate.

    By the fastest steps: whatever else the cores are busy with only adds to the others.
    """
    expected = GRADIENT_BYTES * 2 * (2 - 1) / 2 * 8 / bits_per_second
    ranks = records[bits_per_second]["anatomy"]["ranks"]
    measured = min(chain.from_iterable(rank["communication_seconds"] for rank in ranks))
    assert measured == pytest.approx(expected, rel=0.15)
    exposed = min(ranks[0]["exchange_on_seconds"]) - min(ranks[0]["exchange_off_seconds"])
    assert exposed == pytest.approx(expected, rel=0.15)  # next to nothing to hide it behind


def test_record_carries_the_nodes_and_their_hosts(records):
    for record in records.values():
        assert (record["world"]["nodes"], record["world"]["processes"]) == (2, 2)
        assert [device["host"] for device in record["devices"]] == list(NODES)
        assert [rank["host"] for rank in record["ranks"]] == list(NODES)
