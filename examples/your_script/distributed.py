"""`one_gpu.py` under DistributedDataParallel: a process per GPU, `torchrun --nproc_per_node=gpu distributed.py`."""

import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

device = torch.device("cpu")
if torch.cuda.is_available():
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))  # (1) a GPU for each process
    torch.cuda.set_device(device)
dist.init_process_group()  # (1) the processes meet
torch.manual_seed(0)
samples = torch.randn(2048, 64)  # your data
dataset = TensorDataset(samples, samples[:, :10].argmax(1))
model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10)).to(device)  # your model
model = DistributedDataParallel(model)  # (2) wrap the model: backward averages the gradients of all processes
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
sampler = DistributedSampler(dataset)  # (3) each process draws its own part of the samples
loader = DataLoader(dataset, batch_size=64, sampler=sampler)  # (3) of each process

for epoch in range(5):
    sampler.set_epoch(epoch)  # (4) another order in every epoch
    for inputs, targets in loader:
        inputs, targets = inputs.to(device), targets.to(device)
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    if dist.get_rank() == 0:  # (5) one process prints and saves
        print(f"epoch {epoch}: loss {loss.item():.3f}")
if dist.get_rank() == 0:  # (5)
    torch.save(model.module.state_dict(), "model.pt")
dist.destroy_process_group()  # (1)
