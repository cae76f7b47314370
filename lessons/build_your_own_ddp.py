"""Build your own DistributedDataParallel, and let the lab mark it.

`HandBuiltDDP` gives every rank the same weights to begin with, and calls `after_backward` when all gradients of this
rank are complete. Nothing is exchanged yet, so that each rank trains a model of its own: run it, and the line `parity`
says so. Fill in `after_backward`, and run it again. There are three ways, each faster than the one before:

1. one `dist.all_reduce` for each parameter's gradient, divided by the number of ranks;
2. all gradients in one tensor, in a single all-reduce, copied back afterwards;
3. a few tensors of some 25 MiB, each sent (`async_op=True`) as soon as its gradients are complete, while the backward
   pass goes on: in `__init__`, `parameter.register_post_accumulate_grad_hook` for those that say when. It is called in
   every backward pass; where `self.exchanging` is false, nothing is to be sent.

    torchrun --standalone --nproc_per_node=2 04_ddp_training.py --exchange mine --model resnet18 --batch-size 8

`make my_exchange` measures yours and way 1 in turn. Then compare yours with hand_built_ddp.py, which has all three, and
with torch's own: the same command with `--exchange overlapped`, and without `--exchange`, three times each in turn,
then step 05.
"""

import torch.distributed as dist  # noqa: F401 (what you fill in needs it)

from lessons.hand_built_ddp import HandBuiltDDP


class MyDDP(HandBuiltDDP):
    """Yours. `self.trained` lists the parameters; those that a step did not use have no `.grad`."""

    def after_backward(self) -> None:
        """Average the gradients over the ranks, in place.

        Every rank comes here after a backward pass, but not within `no_sync()`.
        """
