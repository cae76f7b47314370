"""A text classifier of torch's own Transformer layers: which of 8 kinds of text is it?

python 02_baseline_single_gpu.py --model examples/text_classifier.py --batch-size 16
"""

import torch
from torch import nn

from common.workload import Workload

WORDS, LENGTH, WIDTH, KINDS = 10_000, 128, 256, 8


class TextClassifier(nn.Module):
    def __init__(self, layers=4):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.position = nn.Parameter(0.02 * torch.randn(LENGTH, WIDTH))
        layer = nn.TransformerEncoderLayer(WIDTH, nhead=4, dim_feedforward=4 * WIDTH, batch_first=True)  # dropout 0.1
        self.encoder = nn.TransformerEncoder(layer, layers)
        self.head = nn.Linear(WIDTH, KINDS)

    def forward(self, words):
        """Words (batch, length) -> logits (batch, kinds)."""
        return self.head(self.encoder(self.embedding(words) + self.position).mean(dim=1))


def sample(seed, index):
    """Each kind of text prefers an eighth of all words."""
    random = torch.Generator().manual_seed(hash((seed, index)) % 2**63)
    kind = torch.randint(KINDS, (), generator=random)
    return kind * (WORDS // KINDS) + torch.randint(WORDS // KINDS, (LENGTH,), generator=random), kind


def build():
    return Workload(model=TextClassifier(), sample=sample, unit="tokens", units_per_sample=LENGTH)
