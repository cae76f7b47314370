"""Step 03: train on several devices with DataParallel.

One process. Every step it splits the batch, copies the model to all devices, runs them in threads, gathers the outputs
on device 0 and reduces the gradients there. Beside the list of devices, one thing is new: the model is wrapped.

    python 03_dataparallel_training.py --model resnet50 --batch-size 256 --epochs 5 --gpus 0,1,2,3
"""

import sys
from contextlib import nullcontext

sys.path.insert(0, __file__.rpartition("/")[0] or ".")  # this folder, which `python -I` and PYTHONSAFEPATH leave out

from common.command_line.options import TrainingOptions
from common.running.start import start_training


def train(options: TrainingOptions) -> None:
    # Imported only now, so that --help need not wait for torch.
    from torch import nn
    from torch.utils.data import DistributedSampler

    from common.machine.devices import listed_devices
    from common.running.recording import recording
    from common.training.data import create_dataset
    from common.training.data_parallel import own_data_parallel
    from common.training.loader import create_loader
    from common.training.models import create_model, create_workload
    from common.training.training import Training, create_optimizer

    devices = listed_devices(options.device, options.gpus)
    with recording(options, devices) as run:  # ends with a record, also when the run fails: then it says why
        config = run.config  # the options, with what the model and the machine decide filled in
        workload = create_workload(config)  # the model, its samples, its loss
        model = create_model(workload, config, devices)  # on its device; autocast is inside its forward
        if devices.kind == "cuda" and options.threads == "new":
            model = nn.DataParallel(model, device_ids=devices.device_ids)
        else:  # what torch's class cannot: train on CPU cores, and keep its threads (--threads kept)
            model = own_data_parallel(model, devices, options.threads)

        dataset = create_dataset(workload, config)
        sampler = DistributedSampler(dataset, num_replicas=1, rank=0, seed=config.seed, drop_last=True)
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
    start_training(train, "dp", __doc__)  # reads the command line, and calls `train`
