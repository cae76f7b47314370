"""Ranks that tell each other which GPUs they have; the GPUs are made up, the store is torch's own."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from threading import local
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist

from common.errors import UsageError
from common.machine.devices import LocalDevices, rank_device
from common.measuring.device_use import DeviceMeter
from common.training.distributed import agree_on_devices, rendezvous

seen = local()
"""What the rank of this thread sees: the GPUs' UUIDs and models, by its own numbers."""


@pytest.fixture
def met(monkeypatch):
    """`met([[(uuid, model), …], …])`: the places of ranks of one host, each of which sees these GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(seen.gpus))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: seen.gpus[index][1])

    def properties(device):
        index = device if isinstance(device, int) else device.index
        return SimpleNamespace(uuid=seen.gpus[index][0], total_memory=2**30)

    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)

    def meet(views: list[list[tuple[str, str]]], virtual: bool = False) -> list[LocalDevices]:
        places = []
        for rank, gpus in enumerate(views):
            seen.gpus = gpus
            of_torchrun = {"LOCAL_WORLD_SIZE": len(views), "WORLD_SIZE": len(views), "RANK": rank}
            for name, value in of_torchrun.items():
                monkeypatch.setenv(name, str(value))
            places.append(rank_device("cuda", 0 if virtual else rank))
        store = dist.HashStore()

        def settle(devices: LocalDevices, gpus: list) -> None:
            seen.gpus = gpus
            agree_on_devices(devices, store)

        with ThreadPoolExecutor(len(places)) as pool:
            list(pool.map(settle, places, views))
        return places

    return meet


A, B, C = ("uuid-1", "NVIDIA A"), ("uuid-2", "NVIDIA A"), ("uuid-3", "NVIDIA B")


def worlds(places: list[LocalDevices]) -> set[tuple]:
    return {(devices.world.backend, devices.world.shared, devices.world.device_model) for devices in places}


@pytest.mark.parametrize("virtual", [False, True])
def test_a_gpu_of_its_own_that_each_rank_calls_number_0_is_not_shared(met, virtual):
    places = met([[A], [B]], virtual)
    assert worlds(places) == {("nccl", False, "NVIDIA A")}
    assert [devices.device.index for devices in places] == [0, 0]
    for number, devices in enumerate(places):
        seen.gpus = [A]
        (use,) = DeviceMeter(devices).uses()
        assert use.index == number


def test_one_gpu_that_both_see_is_shared(met):
    places = met([[A], [A]])
    assert worlds(places) == {("gloo", True, "NVIDIA A")}
    assert [devices.numbers for devices in places] == [[0], [0]]


def test_ranks_that_see_all_gpus_have_one_each_and_name_unlike_ones(met):
    places = met([[A, C], [A, C]])
    assert worlds(places) == {("nccl", False, "NVIDIA A + NVIDIA B")}
    assert [devices.numbers for devices in places] == [[0], [1]]


def test_more_ranks_than_gpus_share_them(met):
    assert worlds(met([[A, B]] * 4)) == {("gloo", True, "NVIDIA A")}


def test_two_ranks_whose_variables_name_the_same_gpu_share_it_though_a_second_is_visible(met):
    assert worlds(met([[A, B], [B, A]])) == {("gloo", True, "NVIDIA A")}


def test_without_uuids_the_slots_variable_decides(met, monkeypatch):
    places = met([[(None, "NVIDIA A"), (None, "NVIDIA A")]] * 2)
    assert worlds(places) == {("nccl", False, "NVIDIA A")}


def test_the_network_interface_is_checked_for_the_backend_that_the_ranks_have_agreed_on(met, monkeypatch):
    (place, _) = met([[A, B]] * 2)
    place.world.backend, seen.gpus = "nccl", [A]
    store = dist.HashStore()
    met_before = dist.PrefixStore("attempt_0", store)
    met_before.set("device_1", json.dumps({"host": socket.gethostname(), "gpu": "uuid-1", "model": "NVIDIA A"}))
    monkeypatch.setattr(dist, "rendezvous", lambda *_, **__: iter([(store, 0, 2)]))
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "eth98")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth99")
    with pytest.raises(UsageError, match="GLOO_SOCKET_IFNAME=eth99"):
        rendezvous(place, 10)
