"""Nodes on one machine: network namespaces joined by links of known bandwidth. Needs root and iproute2."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from conftest import ROOT, environment


def missing_here() -> str:
    """What this machine lacks to make namespaces, in words; nothing if it lacks nothing."""
    missing = [program for program in ("ip", "tc", "unshare", "hostname") if not shutil.which(program)]
    return ", ".join([*missing, *(["root"] if os.geteuid() != 0 else [])])


def node_name(number: int) -> str:
    return f"labnode{number}"


def node_address(number: int) -> str:
    return f"10.77.0.{1 + number}"


@contextmanager
def link(bits_per_second: int, nodes: int = 2) -> Iterator[tuple[str, ...]]:
    """Namespaces, each joined to a bridge by a veth pair that carries so much away from it; their names.

    Raises `CalledProcessError` where the kernel does not let them be made.
    """
    # Namespaces belong to the machine: another link, and another test run, may have theirs.
    names = tuple(f"{node_name(number)}-{os.getpid()}-{bits_per_second}" for number in range(nodes))
    hub = f"labhub-{os.getpid()}-{bits_per_second}"
    bucket = ["tbf", "rate", f"{bits_per_second}bit", "burst", "64kb", "latency", "50ms"]
    try:
        for name in (hub, *names):
            run("ip", "netns", "add", name)
        run("ip", "-n", hub, "link", "add", "bridge", "mtu", "9000", "type", "bridge")
        run("ip", "-n", hub, "link", "set", "bridge", "up")
        for number, name in enumerate(names):
            end, port = f"veth{number}", f"port{number}"
            run("ip", "link", "add", end, "netns", name, "type", "veth", "peer", "name", port, "netns", hub)
            # Large frames: of small ones headers take 5 %, and the cores that send them are the ones that train.
            run("ip", "-n", hub, "link", "set", port, "mtu", "9000", "master", "bridge", "up")
            run("ip", "-n", name, "addr", "add", f"{node_address(number)}/24", "dev", end)
            run("ip", "-n", name, "link", "set", end, "mtu", "9000", "up")
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("tc", "-n", name, "qdisc", "replace", "dev", end, "root", *bucket)
        yield names
    finally:
        for name in (*names, hub):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)  # not there: nothing to remove


def run(*command: str) -> None:
    subprocess.run(command, capture_output=True, text=True, check=True)


def torchrun_options(nodes: int, number: int, port: int = 29511) -> list[str]:
    """For one of the nodes, which meet by c10d's rendezvous on the first of them.

    Their host names are theirs alone, and no name service knows them: hence `is_host` and `--local-addr`.
    """
    options = [f"--nnodes={nodes}", "--nproc_per_node=1", "--rdzv-id=lab", "--rdzv-backend=c10d"]
    options += [f"--rdzv-endpoint={node_address(0)}:{port}", f"--rdzv-conf=is_host={int(number == 0)}"]
    return [*options, f"--local-addr={node_address(number)}"]


def node_environment(number: int) -> dict[str, str]:
    return environment(GLOO_SOCKET_IFNAME=f"veth{number}")


def start(names: tuple[str, ...], number: int, script: str, *arguments: str, port: int = 29511) -> subprocess.Popen:
    """A script under torchrun on one of the nodes."""
    named = ["unshare", "--uts", "sh", "-c", f'hostname {node_name(number)}; exec "$@"', "sh"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", *torchrun_options(len(names), number, port)]
    return subprocess.Popen(
        ["ip", "netns", "exec", names[number], *named, *torchrun, str(ROOT / script), *arguments],
        env=node_environment(number),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
