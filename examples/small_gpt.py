"""A small GPT on the letters of a text: the lab's own README. The loss is computed inside forward.

python 02_baseline_single_gpu.py --model examples/small_gpt.py --batch-size 16
python 02_baseline_single_gpu.py --model examples/small_gpt.py --data examples/small_gpt.py:dataset
"""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset

from common.workload import Workload

LENGTH, WIDTH, HEADS, LAYERS = 128, 192, 6, 4
TEXT = torch.tensor(list((Path(__file__).parents[1] / "README.md").read_bytes()))
"""Each byte is a token."""


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend, self.project = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.think = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x):
        parts = self.attend(self.norm1(x)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(*parts, dropout_p=0.1, is_causal=True)
        x = x + self.project(found.transpose(1, 2).flatten(-2))
        return x + self.think(self.norm2(x))


class SmallGPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.position = nn.Embedding(256, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.Sequential(*[Block() for _ in range(LAYERS)])
        self.head = nn.Linear(WIDTH, 256)

    def forward(self, tokens, following):
        """Tokens and those that follow them, (batch, length) each -> the mean loss: one number leaves the device."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        logits = self.head(self.blocks(self.embedding(tokens) + self.position(places)))
        return functional.cross_entropy(logits.flatten(0, 1), following.flatten())


class Text(Dataset):
    """Every piece of the text; `--data` takes any such data set."""

    def __len__(self):
        return len(TEXT) - LENGTH - 1

    def __getitem__(self, index):
        piece = TEXT[index : index + LENGTH + 1]
        return {"tokens": piece[:-1], "following": piece[1:]}


def dataset():
    return Text()


def sample(seed, index):
    random = torch.Generator().manual_seed(hash((seed, index)) % 2**63)
    return Text()[torch.randint(len(Text()), (), generator=random)]


def build():
    return Workload(model=SmallGPT(), sample=sample, unit="tokens", units_per_sample=LENGTH,
                    optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=3e-4, weight_decay=0.1))  # fmt: skip
