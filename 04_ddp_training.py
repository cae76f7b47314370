"""Step 04: train on several devices with DistributedDataParallel.

One process per device, started by torchrun. Each has its own model, optimizer and part of the data; gradients are
averaged over all ranks (all-reduce) during the backward pass. New, too: the process group, and a sampler by rank.

    torchrun --nproc_per_node=4 04_ddp_training.py --model resnet50 --batch-size 64 --epochs 5
"""

import os
import sys
from contextlib import nullcontext

sys.path.insert(0, __file__.rpartition("/")[0] or ".")  # this folder, which `python -I` and PYTHONSAFEPATH leave out

from common.command_line.options import TrainingOptions
from common.running.start import start_training


def train(options: TrainingOptions) -> None:
    # Imported only now, so that --help need not wait for torch.
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel
    from torch.utils.data import DistributedSampler

    from common.machine.devices import rank_device
    from common.running.recording import recording
    from common.training.data import create_dataset
    from common.training.distributed import ddp_kwargs, register_comm_hook, rendezvous
    from common.training.loader import create_loader
    from common.training.models import create_model, create_workload
    from common.training.training import Training, create_optimizer

    local_rank = int(os.environ["LOCAL_RANK"])  # torchrun tells each process which one of this machine it is
    devices = rank_device(options.device, local_rank)
    if devices.kind == "cuda":
        torch.cuda.set_device(devices.device)
    # The ranks wait for each other and settle on a backend: nccl, but gloo on CPU cores and where ranks share a GPU.
    group_kwargs = rendezvous(devices, options.ddp.timeout_seconds)  # torchrun's store, rank, world size, time limit
    dist.init_process_group(devices.world.backend, **group_kwargs)
    with recording(options, devices) as run:  # ends with a record, also when the run fails: then it says why
        config = run.config  # the options, with what the model and the machine decide filled in
        workload = create_workload(config)  # the model, its samples, its loss
        model = create_model(workload, config, devices)  # on its device; autocast is inside its forward
        model = DistributedDataParallel(model, device_ids=devices.device_ids, **ddp_kwargs(config.ddp))
        register_comm_hook(model, config.ddp.comm_hook)  # compresses gradients, if asked to

        dataset = create_dataset(workload, config)
        sampler = DistributedSampler(
            dataset, num_replicas=dist.get_world_size(), rank=dist.get_rank(), seed=config.seed, drop_last=True
        )
        loader = create_loader(dataset, sampler, config, devices)  # a DataLoader that loads on into the next epoch
        optimizer = create_optimizer(model, config)  # as --optimizer says: SGD with momentum, AdamW, or the model's own

        # `run` takes the same step, by `training.step`: to check the gradient, to warm up, to see where a step goes.
        training = Training(train_step, model, optimizer, loader, config)  # adds the model's loss, and fp16's scaler
        run.prepare(training)  # resumes, checks the gradient, compiles, warms up, and then sets the weights back
        for epoch in run.epochs():
            sampler.set_epoch(epoch)  # without it every epoch repeats the order of the first
            for micro_batches in run.timed(loader):  # those of one step; timed from here to here, wait included
                losses = train_step(training, micro_batches)
                run.log(losses)
        run.profile(training)  # extra steps, timed part by part: they change the weights, and count for no speed
    dist.destroy_process_group()  # not when the run fails: another rank may be in a collective


def train_step(training, micro_batches, phase=lambda name: None):
    """One optimizer step; returns each micro-batch's loss, on the device: reading it here would make the host wait.

    There is one micro-batch, or, with --accumulation-steps, several equal ones whose gradients add up.
    `phase` is called as each part of the step begins: `run.profile` gives one that times the parts.
    """
    model, optimizer, scaler, device = training.model, training.optimizer, training.scaler, training.device
    no_sync = getattr(model, "no_sync", nullcontext)  # DDP alone has it: inside, gradients add up on each rank
    losses = []
    for batch in micro_batches:
        is_last = batch is micro_batches[-1]
        with nullcontext() if is_last else no_sync():  # DDP exchanges their sum once, with the last one
            phase("copy")
            inputs, targets = batch.to(device)
            phase("forward")
            outputs = model(inputs)
            phase("loss")
            loss = training.loss(outputs, targets)
            phase("backward")
            scaler.scale(loss / len(micro_batches)).backward()  # scaled in fp16 alone
        losses.append(loss.detach())
    phase("optimizer")
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    return losses


if __name__ == "__main__":
    start_training(train, "ddp", __doc__)  # reads the command line, and calls `train`, or with --exchange the lesson's
