"""What DataParallel's gathering costs device 0 in memory: all outputs, or a loss that each replica computes.

Two replicas (of one GPU where there is one only) of an embedding and a head of GPT-2's vocabulary. Once forward returns
its logits, which are gathered on device 0 and whose loss is computed there; once it returns the loss. Prints the peak
of what is allocated on device 0 beside the bytes of the gathered outputs, which are batch × outputs × 4.

    python benchmarks/gathered_outputs.py            # GPUs; on CPU cores it prints the bytes alone
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch import nn
from torch.nn import functional

from common.machine.devices import listed_devices
from common.training.data_parallel import EmulatedDataParallel

VOCABULARY, WIDTH, LENGTH, BATCH = 50_257, 256, 512, 16


class Model(nn.Module):
    def __init__(self, with_loss: bool) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(VOCABULARY, WIDTH), nn.Linear(WIDTH, VOCABULARY)
        self.with_loss = with_loss

    def forward(self, tokens: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
        logits = self.head(self.embedding(tokens))
        return loss_of(logits, following) if self.with_loss else logits


def loss_of(logits: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), following.flatten())


def main() -> None:
    on_gpu = torch.cuda.is_available()
    count = torch.cuda.device_count()
    devices = listed_devices("auto", "0,1" if count != 1 else "0,0")
    batch = BATCH if on_gpu else 2
    for with_loss in (False, True):
        model = Model(with_loss).to(devices.device)
        parallel = (nn.DataParallel if on_gpu else EmulatedDataParallel)(model, device_ids=devices.indices)
        tokens = torch.randint(VOCABULARY, (batch, LENGTH), device=devices.device)
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        outputs = parallel(tokens, tokens)
        (outputs.mean() if with_loss else loss_of(outputs, tokens)).backward()
        devices.synchronize()
        peak = f", peak on device 0 {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB" if on_gpu else ""
        name = "a loss of each replica" if with_loss else "logits"
        print(f"{name}: {outputs.nbytes / 2**20:,.3f} MiB gathered{peak}", flush=True)
        del model, parallel, outputs


if __name__ == "__main__":
    main()
