"""Real images: a small tree of JPEGs, trained on in all three methods."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import environment, planted, records_in, run_script
from factories import make_config, make_place
from PIL import Image
from trainers import make_loader

from common.training import image_folder
from common.training.loader import validation_loader
from common.training.training import validate

SINGLE, DP, DDP = "02_baseline_single_gpu.py", "03_dataparallel_training.py", "04_ddp_training.py"
COLOURS = {"ant": (200, 60, 60), "bee": (60, 200, 60), "cat": (60, 60, 200), "dog": (190, 190, 60)}

# A network that tells colours apart after a few steps, in the place of any of torchvision's.
COLOUR_NETWORK = """
from torch import nn
from common.training import by_library
by_library.torchvision_workload = lambda config: by_library.image_workload(nn.Sequential(
    nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(),
    nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(8 * 16, config.num_classes),
), config)
"""
LEARNING = ["--image-size", 32, "--epochs", 5, "--lr", 0.02, "--anatomy-steps", 0]
MAX_LOSS_RATIO, MIN_TOP1 = 0.5, 0.9
"""Limits for the last epoch. `benchmarks/learning_margins.py` says how far from them right and broken exchanges end."""


def fill(folder, per_class, classes=COLOURS):
    random = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = random.normal(COLOURS[name], 25, (30, 30 + number, 3)).clip(0, 255).astype("uint8")
            Image.fromarray(pixels).save(folder / name / f"{number}.jpg")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """64 training images of 4 classes and 18 to validate on; of each one is broken, in different ways."""
    return fill_tree(tmp_path_factory.mktemp("data"))


def fill_tree(parent):
    folder = parent / "insects"
    fill(folder / "train", 16)
    fill(folder / "val", 6, ("bee", "cat", "dog"))  # a class that val/ lacks must not shift the numbers of the others
    cut = folder / "train" / "bee" / "3.jpg"
    cut.write_bytes(cut.read_bytes()[:200])
    (folder / "val" / "cat" / "1.jpg").write_text("not an image")
    return folder


@pytest.mark.parametrize(("script", "batch", "ranks"), [(SINGLE, 16, 0), (DP, 16, 0), (DDP, 8, 2)])
def test_it_learns_to_tell_the_classes(tree, tmp_path, script, batch, ranks):
    arguments = ["--data-dir", tree, *LEARNING, "--batch-size", batch, "--workers", int(script == SINGLE)]
    arguments += ["--gpus", "0,1"] if script == DP else []
    results = tmp_path / "results"
    process = run_script(planted(tmp_path, script, COLOUR_NETWORK), *arguments, "--results-dir", results, ranks=ranks)
    assert process.returncode == 0, process.stderr
    (record,) = records_in(results)
    assert record["config"]["data_source"] == "insects: 64 images, 4 classes"
    assert record["config"]["num_classes"] == 4
    epochs = record["epochs"]
    assert epochs[-1]["mean_loss"] < MAX_LOSS_RATIO * epochs[0]["mean_loss"]
    last = epochs[-1]["validation"]
    assert last["samples"] == 17  # 18, each once, but for the broken one
    assert last["top1"] > MIN_TOP1
    assert last["top5"] == 1.0
    names = [name.split(" ")[0].split("insects/")[1] for name in record["unreadable_files"]]
    assert names == ["train/bee/3.jpg", "val/cat/1.jpg"]
    assert "val/cat/1.jpg" in process.stdout or ranks  # rank 0 may not have seen it
    assert sum(rank["samples"][0] for rank in record["ranks"]) == 64


@pytest.mark.parametrize("format", ["JPEG", "MPO", "PNG", "PPM", "BMP", "TIFF", "WEBP"])
def test_every_usual_format_is_decoded_and_only_what_is_broken_is_not(tmp_path, format):
    path, unreadable = tmp_path / "image.jpg", []
    Image.new("RGB", (9, 9)).save(path, format)
    assert image_folder._decoded(str(path), unreadable).size == (9, 9)
    path.write_text("no image")
    assert image_folder._decoded(str(path), unreadable) is None
    assert len(unreadable) == 1
    assert "cannot identify" in unreadable[0]


def test_labels_of_validation_are_those_of_training(tree):
    images = image_folder.image_tree(tree)
    assert all(f"/{images.classes[label]}/" in path for path, label in images.validation)


def loaded(tree, processes=1, rank=0, workers=0, epoch=1):
    config = make_config(data_dir=str(tree), samples_per_epoch=64, image_size=16, seed=3, loader_workers=workers)
    devices = make_place()
    world = devices.world.model_copy(update={"processes": processes, "devices": processes})
    loader = make_loader(config, replace(devices, world=world, rank=rank))
    loader.sampler.set_epoch(epoch)
    return {index: image for batch in loader for index, image in zip(batch.indices.tolist(), batch.inputs, strict=True)}


def test_augmentation_is_fixed_by_seed_epoch_and_sample_alone(tree):
    """Not by method, rank or worker."""
    alone = loaded(tree)
    by_two = loaded(tree, 2, 0) | loaded(tree, 2, 1)
    by_worker = loaded(tree, workers=1)
    assert set(alone) == set(by_two) == set(by_worker) == set(range(64))
    for index, image in alone.items():
        assert torch.equal(image, by_two[index])
        assert torch.equal(image, by_worker[index])
    later = loaded(tree, epoch=2)
    assert not all(torch.equal(image, later[index]) for index, image in alone.items())


def test_the_random_numbers_of_the_training_stay_its_own(tree):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    image_folder.training_images(make_config(data_dir=str(tree), samples_per_epoch=64)).__getitems__([(1, 0)])
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("processes", [1, 3])
def test_validation_counts_every_image_once(tree, processes):
    """A model that always says `cat` is right on the five cats that can be decoded, however many ranks share them."""

    class SaysCat(torch.nn.Module):
        def forward(self, batch):
            return torch.tensor([[0.0, 0.0, 1.0, 0.0]]).expand(len(batch), 4)

    config = make_config(data_dir=str(tree), samples_per_epoch=64, global_batch_size=6)
    right, samples, broken = 0, 0, []
    for rank in range(processes):
        devices = make_place()
        world = devices.world.model_copy(update={"processes": processes})
        devices = SimpleNamespace(world=world, rank=rank, kind="cpu")
        model = SaysCat()
        validation, unreadable = validate(model, validation_loader(config, devices), torch.device("cpu"))
        right += round(validation.top1 * validation.samples)
        samples += validation.samples
        assert model.training
        broken += unreadable
    assert (right, samples) == (5, 17)
    assert [name.split(" ")[0].rpartition("/val/")[2] for name in broken] == ["cat/1.jpg"]


def test_a_flat_tree_and_a_part_of_it(tree, tmp_path):
    arguments = ["--data-dir", tree / "train", "--model", "squeezenet1_1", "--image-size", 32, "--batch-size", 16]
    arguments += ["--epochs", 1, "--samples-per-epoch", 32, "--anatomy-steps", 0]
    assert run_script(SINGLE, *arguments, "--results-dir", tmp_path).returncode == 0
    (record,) = records_in(tmp_path)
    assert record["epochs"][0]["samples"] == 32
    assert record["epochs"][0]["validation"] is None


@pytest.mark.parametrize(
    ("prepare", "more", "said"),
    [
        (lambda folder: None, [], "is not a folder"),
        (lambda folder: folder.mkdir(), [], "one folder of images per class"),
        (
            lambda folder: (folder / "ant").mkdir(parents=True),
            [],
            "no valid file for the classes ant. Supported extensions are: .jpg, ",
        ),
        (lambda folder: fill(folder, 2), ["--num-classes", 3], "4 classes"),
        (lambda folder: fill(folder, 2), ["--samples-per-epoch", 9], "8 samples"),
        (lambda folder: fill(folder, 1), ["--batch-size", 8], "lower --batch-size"),
        (lambda folder: (fill(folder / "train", 1, ("ant",)), fill(folder / "val", 1, ("ant", "bee"))), [], "bee"),
    ],
)
def test_what_is_no_image_tree_is_refused(tmp_path, prepare, more, said):
    prepare(tmp_path / "tree")
    arguments = ["--data-dir", tmp_path / "tree", "--batch-size", 1, *more, "--results-dir", tmp_path / "results"]
    process = run_script(SINGLE, *arguments, env=environment())
    assert process.returncode == 2, process.stderr
    assert process.stderr.startswith("error: ")
    assert process.stderr.count("\n") == 1
    assert said in process.stderr


@pytest.mark.parametrize("litter", [".ipynb_checkpoints", "__MACOSX", ".hidden", "@eaDir"])
def test_what_programs_leave_in_a_folder_is_neither_a_class_nor_an_image(tmp_path, litter):
    folder = tmp_path / ".data" / "insects"
    fill(folder, 2)
    for where in (folder, folder / "ant"):
        (where / litter / "ant").mkdir(parents=True)
        for name in ("0.jpg", "ant/0-checkpoint.jpg"):
            (where / litter / name).write_bytes((folder / "ant" / "0.jpg").read_bytes())
        for name in ("._0.jpg", "Thumbs.db", ".DS_Store"):
            (where / name).write_bytes(b"no image")
    tree = image_folder.image_tree(folder)
    assert (len(tree.training), tree.classes) == (8, sorted(COLOURS))
    assert {path.removeprefix(str(folder)) for path, _ in tree.training} == {
        f"/{name}/{number}.jpg" for name in COLOURS for number in range(2)
    }


def test_a_folder_of_broken_files_ends_the_run_with_its_reason(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        for number in range(60):
            (tmp_path / "tree" / name / f"{number}.jpg").write_text("no image")
    arguments = ["--data-dir", tmp_path / "tree", "--batch-size", 8, "--image-size", 32, "--results-dir", tmp_path]
    process = run_script(SINGLE, *arguments, "--model", "squeezenet1_1")
    assert process.returncode == 1
    (record,) = records_in(tmp_path)
    assert "100 images in a row" in record["failure"]["message"]
