"""Two nodes on one machine: network namespaces joined by a link of known bandwidth. Needs root and iproute2."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import chain, product
from pathlib import Path

import pytest
from conftest import records_in, run_script
from namespaces import link, missing_here, node_environment, node_name, torchrun_options

BITS_PER_SECOND = (100_000_000, 60_000_000)
# Few gradients over slow links: the time is the links', and not that of the cores, which send, receive and train.
MODEL, GRADIENT_BYTES = "squeezenet1_1", 4 * 1_235_496
TRAINING = f"--model {MODEL} --image-size 32 --batch-size 4 --samples-per-epoch 8 --epochs 1 --uncounted-steps 1"


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> dict[int, dict]:
    """Rank 0's record of a training over each link. Both train at once: what takes long is waiting for the links."""
    if missing_here():
        pytest.skip(f"needs root and iproute2 to join two network namespaces (missing: {missing_here()})")
    folders = {rate: tmp_path_factory.mktemp("results") for rate in BITS_PER_SECOND}
    with ExitStack() as links:
        try:
            namespaces = {rate: links.enter_context(link(rate)) for rate in BITS_PER_SECOND}
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this kernel does not let namespaces be made and joined: {error.stderr.strip()}")
        training = ["04_ddp_training.py", *TRAINING.split(), "--anatomy-steps", "5", "--results-dir"]

        def node(rate: int, number: int) -> subprocess.CompletedProcess:
            how = {"torchrun": torchrun_options(2, number), "node": (namespaces[rate][number], node_name(number))}
            return run_script(*training, folders[rate], env=node_environment(number), timeout=180, **how)

        with ThreadPoolExecutor(4) as threads:
            processes = list(threads.map(node, *zip(*product(BITS_PER_SECOND, range(2)), strict=True)))
    assert [process.returncode for process in processes] == [0] * 4, "\n".join(each.stderr for each in processes)
    return {rate: one_record(folder) for rate, folder in folders.items()}


def one_record(folder: Path) -> dict:
    (record,) = records_in(folder)
    return record


@pytest.mark.parametrize("bits_per_second", BITS_PER_SECOND)
def test_communication_is_what_the_link_allows(records, bits_per_second):
    """The ring's S · 2(n − 1)/n bytes over the link's rate; a wrong factor, or the other link's rate, lies outside.

    By the fastest steps: whatever else the cores are busy with only adds to the others, and a little to these.
    """
    expected = GRADIENT_BYTES * 2 * (2 - 1) / 2 * 8 / bits_per_second
    ranks = records[bits_per_second]["anatomy"]["ranks"]
    measured = min(chain.from_iterable(rank["communication_seconds"] for rank in ranks))
    assert 0.85 < measured / expected < 1.4
    exposed = min(ranks[0]["exchange_on_seconds"]) - min(ranks[0]["exchange_off_seconds"])
    assert 0.7 < exposed / expected < 1.4  # next to nothing to hide it behind


def test_record_carries_the_nodes_and_their_hosts(records):
    for record in records.values():
        assert (record["world"]["nodes"], record["world"]["processes"]) == (2, 2)
        assert [device["host"] for device in record["devices"]] == [node_name(0), node_name(1)]
        assert [rank["host"] for rank in record["ranks"]] == [node_name(0), node_name(1)]
