"""What a reader would compare about two runs: what makes a group, what makes a configuration, and what else may differ.

Facts are named by ids, which are also the columns of the runs' table; `templates/sentences.en.toml` has their names.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Literal, TypeVar

from common.messages import Message, message
from common.records import DdpOptions, Record, RunConfig, Setting, machine_of, settings_of, unusual_settings
from common.sentences import sentences

Scaling = Literal["weak", "strong"]
Fact = str | int | float
Facts = Mapping[str, Fact]
T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

OPTIONS = "ddp_options"
"""DDP's options that are not the default ones, as the flags that set them."""
SETTINGS = {name: one for name, one in settings_of(RunConfig).items() if not one.exempt}
"""Those in which runs differ, by the fields of their configuration."""


def facts_of_settings(chosen: Callable[[Setting], bool]) -> tuple[str, ...]:
    """The facts of some settings, in the order of their declarations."""
    return tuple(one.fact for one in SETTINGS.values() if chosen(one))


GROUP_KEY = (*dict.fromkeys(("model", "num_classes", *facts_of_settings(lambda one: one.compared == "group"))),
             "device_model")  # fmt: skip
"""Runs are compared where these agree, and the batch of their scaling."""
BATCH: dict[Scaling, str] = {"weak": "per_device_batch_size", "strong": "global_batch_size"}
"""Weak scaling fixes the per-device batch, strong scaling the global batch."""
OTHER_FACTS = tuple(dict.fromkeys((
    "torch", "torchvision", "cuda", "cudnn", "nccl", "driver", "python", "machine", "cpu_model", "cpu_cores", "nodes",
    "threads_per_device", "backend", "transport", "loader_workers_per_device", "samples_per_epoch", "epochs",
    "warmup_steps", *facts_of_settings(lambda one: one.compared == "row" and one.fact != OPTIONS), "campaign",
    OPTIONS, "variables", "interpreter_lock", "backend_class", "cpu_quota",
)))  # fmt: skip
"""Everything else that may move a run's speed or memory, and is not the method itself; in the page's order."""
PLACE = ("devices", "processes", "emulated", "shared", "oversubscribed")
"""Where a run took place, beside its method."""
USUAL = {one.fact: one.usual for one in SETTINGS.values()} | {"transport": "", "variables": ""}
"""Values that a title leaves out, and that a change is counted from."""
MAX_CANDIDATES = 100


def fact_value(fact: str, value: Any) -> Message:
    """A fact's value in words: those of this value, of this fact, or just the value."""
    ids = (f"fact_value.{fact}_{value}", f"fact_value.{fact}", "fact_value.any")
    return message(next(id for id in ids if id in sentences()), value=value)


def configuration(record: Record) -> Facts:
    """All in which repeats of one another agree, but for the outcome of their self-checks; None for what is not known.
    The seed is left out."""
    config, world = record.config, record.world
    workers = config.loader_workers / world.devices
    known: dict[str, Any] = {
        **dict(config),
        **dict(world),
        **dict(record.environment),
        **{one.fact: getattr(config, name) for name, one in SETTINGS.items()},
        "method": record.method,
        "loader_workers_per_device": int(workers) if workers.is_integer() else workers,
        # By default the rate grows with the global batch (linear scaling rule); only a departure from it differs.
        "learning_rate_per_256_samples": float(f"{config.learning_rate * 256 / config.global_batch_size:.4g}"),
        OPTIONS: ddp_flags(config.ddp) if config.ddp else None,
        "machine": machine_of(record.environment),
        "transport": world.transport if world.devices > 1 else None,
        "backend_class": record.backend_class,
        # It moves no speed. But what is run once more for another purpose must not move what was measured before.
        "campaign": record.launch.campaign if record.launch else "by_hand" if record.loader_runs_on else "unknown",
    }
    return {name: known[name] for name in ("method", *PLACE, *GROUP_KEY, *BATCH.values(), *OTHER_FACTS)}


def group_key(record: Record, scaling: Scaling | None = None) -> Facts:
    """The facts on which runs of one group agree; without a scaling, those on which they agree in either."""
    facts = configuration(record)
    return {name: facts[name] for name in (*GROUP_KEY, *([BATCH[scaling]] if scaling else BATCH.values()))}


def ddp_flags(options: DdpOptions | None) -> str:
    """The flags that set what is not DDP's default, `--comm-hook powersgd --one-bucket`; nothing where all of it is."""
    return " ".join(word for one, value in unusual_settings(options or DdpOptions()) for word in one.words(value))


def grouped(things: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Things that have one key, under it; in the order in which they came."""
    groups: dict[K, list[T]] = {}
    for thing in things:
        groups.setdefault(key(thing), []).append(thing)
    return groups


def varying_facts(facts: Mapping[T, Facts]) -> dict[str, dict[Fact, list[T]]]:
    """Fact -> value -> those that have it, of every fact on which some disagree; that one lacks it (NCCL, for a run
    without it) is no difference."""
    values: dict[str, dict[Fact, list[T]]] = {}
    for who, own in facts.items():
        for name, value in own.items():
            values.setdefault(name, {}).setdefault(value, []).append(who)
    return {fact: by_value for fact, by_value in values.items() if len(by_value) > 1}
