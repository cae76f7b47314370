"""`--model hf:gpt2?n_layer=4,n_embd=256`: architectures of the installed transformers, with random weights.

Nothing is downloaded: a configuration is that of its class, with values changed by name, or lies in a local folder.
"""

from __future__ import annotations

import ast
import difflib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.command_line.model_names import model_name
from common.errors import UsageError
from common.records import RunConfig
from common.training.workloads.samples import generator
from common.workload import Workload

LANGUAGE_MODELS = ("MASKED_LM", "CAUSAL_LM", "SEQ_TO_SEQ_CAUSAL_LM")
"""Kinds of heads, the first that a type has: one that reads both ways is trained to fill in words."""


def transformers_workload(config: RunConfig) -> Workload:
    """A language model that computes its own loss, on sequences of `--sequence-length` tokens.

    Raises `UsageError` for a type or a value that transformers does not know, and for what is no language model.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers

    transformers.logging.set_verbosity_error()
    kind, _, changes = model_name(config.model).name.partition("?")
    made = _configuration(transformers, config.model, kind, _values(config.model, changes))
    made.use_cache = False  # it is for generating
    limit = getattr(made, "max_position_embeddings", None)
    if limit and config.sequence_length > limit:
        raise UsageError(f"--sequence-length {config.sequence_length}: {config.model} takes at most {limit} tokens")
    model = _model(transformers, config.model, made)
    return Workload(
        model=model,
        sample=partial(_sample, made.vocab_size, config.sequence_length),
        unit="tokens",
        units_per_sample=config.sequence_length,
    )


def _sample(words: int, length: int, seed: int, index: int) -> dict[str, Tensor]:
    """Numbers that follow each other from a random one on: what comes next can be learned."""
    first = torch.randint(words, (), generator=generator(seed, index))
    tokens = (first + torch.arange(length)) % words
    return {"input_ids": tokens, "labels": tokens}


def _configuration(transformers: Any, model: str, kind: str, changes: dict[str, Any]) -> Any:
    folder = Path(kind)
    if (folder / "config.json").is_file():
        made = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    else:
        names = list(transformers.models.auto.configuration_auto.CONFIG_MAPPING_NAMES)
        if kind not in names:
            raise UsageError(
                f"--model {model}: transformers has no architecture called {kind!r}; close: {_close(kind, names)}. "
                "Names of trained models are not looked up: give an architecture, hf:bert, or a folder with config.json"
            )
        made = transformers.AutoConfig.for_model(kind)
    known = {*made.to_dict(), *made.attribute_map}
    for name in changes:
        if name not in known:
            raise UsageError(f"--model {model}: {kind} has no setting {name}; close: {_close(name, sorted(known))}")
    return _tried(model, lambda: type(made).from_dict({**made.to_dict(), **changes}))


def _model(transformers: Any, model: str, made: Any) -> Any:
    mappings = transformers.models.auto.modeling_auto
    for kind in LANGUAGE_MODELS:
        if type(made) in getattr(mappings, f"MODEL_FOR_{kind}_MAPPING"):
            classes = {"MASKED_LM": "AutoModelForMaskedLM", "CAUSAL_LM": "AutoModelForCausalLM",
                       "SEQ_TO_SEQ_CAUSAL_LM": "AutoModelForSeq2SeqLM"}  # fmt: skip
            return _tried(model, lambda: getattr(transformers, classes[kind]).from_config(made))  # noqa: B023
    raise UsageError(
        f"--model {model}: {made.model_type} is no language model; build it in a file of your own (docs/models.md)"
    )


def _values(model: str, text: str) -> dict[str, Any]:
    """`n_layer=4,n_embd=256` as names and values."""
    values: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise UsageError(f"--model {model}: give values by name, hf:gpt2?n_layer=4,n_embd=256, not {part!r}")
        try:
            values[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            values[name] = value
    return values


def _tried(model: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except MemoryError:
        raise
    except Exception as error:  # what a class finds wrong with its values may be of any kind
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UsageError(f"--model {model}: transformers cannot build it ({reason})") from None


def _close(name: str, names: list[str]) -> str:
    """Names like this one; those that it begins with first: `bert` for `bert-base-uncased`."""
    beginnings = sorted((one for one in names if name.lower().startswith(one)), key=len, reverse=True)
    others = difflib.get_close_matches(name.lower(), names, n=4, cutoff=0.5)
    return ", ".join(list(dict.fromkeys([*beginnings, *others]))[:4]) or ", ".join(names[:3])
