"""Step 02: train on one device.

The baseline that the next two steps are held against: the same model, data, loop and clock on the first GPU, or on one
CPU core where there is no GPU.

    python 02_baseline_single_gpu.py --model resnet50 --batch-size 64 --epochs 5
"""

from argparse import Namespace

from common.command_line.flags import training_parser
from common.command_line.parser import start


def main() -> None:
    parser = training_parser("single", __doc__, batch_size="samples per optimizer step, all on one device")
    train(parser.parse_args())


def train(args: Namespace) -> None:
    # Imported only now, so that --help need not wait for torch.
    from common.machine import devices
    from common.running import life as training
    from common.running.recorder import recording
    from common.training import data, models

    place = devices.one_device(args.device)
    with recording(args, place) as run:
        model = models.create(run.config, place.first)
        training.train(model, data.create_loader(run.config, place), run)


if __name__ == "__main__":
    start(main)
