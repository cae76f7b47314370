"""Whether this host finds itself: torchrun lets the ranks meet at the host's own name, even if there is one node only.

Where no name service knows that name (a container's, a laptop's in another network), torchrun --standalone waits for
minutes before any line of the lab runs (pytorch#150532), unless it is told another address. Imports no torch.
"""

from __future__ import annotations

import os
import socket
import threading
from functools import cache

from common.errors import UsageError

LOOPBACK = "127.0.0.1"
STANDALONE = "torchrun --standalone"
MAX_SECONDS = 1.5
"""Longer than a name service needs that answers at all; torchrun asks it more than once."""


@cache
def name_is_found() -> bool:
    """Whether the host's own name leads to an address of this very host, in under two seconds."""
    found: list[bool] = []
    asking = threading.Thread(target=lambda: found.append(_leads_here(socket.getfqdn())), daemon=True)
    asking.start()
    asking.join(MAX_SECONDS)
    return bool(found) and found[0]


def _leads_here(name: str) -> bool:
    try:
        return any(_is_here(family, address) for family, _, _, _, address in socket.getaddrinfo(name, 0))
    except OSError:
        return False


def _is_here(family: int, address: tuple) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as server:
            server.bind(address)
    except OSError:
        return False
    return True


def loopback_is_up() -> bool:
    """Whether processes of this host reach each other at 127.0.0.1, which all of torchrun's single-node runs need."""
    try:
        with socket.create_server((LOOPBACK, 0)) as server:
            socket.create_connection(server.getsockname(), timeout=MAX_SECONDS / 2).close()
    except OSError:
        return False
    return True


def check_interfaces(backend: str) -> None:
    """Raises `UsageError` where the backend is told to use a network interface that this host does not have.

    gloo takes names; NCCL takes beginnings of names, `=` before whole ones, `^` before those to leave alone.
    """
    variable = f"{backend.upper()}_SOCKET_IFNAME"
    value = os.environ.get(variable, "")
    wanted, here = value.removeprefix("="), [name for _, name in socket.if_nameindex()]
    if not value or (value.startswith("^") and backend == "nccl"):
        return
    by_beginning = backend == "nccl" and wanted == value
    for name in filter(None, wanted.split(",")):
        if any(known == name or (by_beginning and known.startswith(name)) for known in here):
            return
    raise UsageError(
        f"{variable}={value} names no network interface of this host, which has {', '.join(here)}: correct or unset it"
    )


def startable(command: str) -> str:
    """A single-node command as it works on this host: where torchrun would not find the host by its name, with an
    address that it always has."""
    addressed = f"{STANDALONE} --local-addr={LOOPBACK}"
    if STANDALONE not in command or addressed in command or name_is_found():
        return command
    return command.replace(STANDALONE, addressed)
