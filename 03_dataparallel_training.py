"""Step 03: train on several devices with DataParallel.

One process. Every step it splits the batch, copies the model to all devices, runs them in threads, gathers the outputs
on device 0 and reduces the gradients there. Beside the list of devices, one line differs from step 02: the model is
wrapped.

    python 03_dataparallel_training.py --model resnet50 --batch-size 256 --epochs 5 --gpus 0,1,2,3
"""

from argparse import Namespace

from common.command_line.flags import training_parser
from common.command_line.parser import start


def main() -> None:
    parser = training_parser("dp", __doc__, batch_size="global batch: samples per optimizer step, over all devices")
    parser.add_argument("--gpus", metavar="0,1,…", help="devices by number (default: all)%(default).0s")
    train(parser.parse_args())


def train(args: Namespace) -> None:
    # Imported only now, so that --help need not wait for torch.
    from common.machine import devices
    from common.running import life as training
    from common.running.recorder import recording
    from common.training import data, models
    from common.training.data_parallel import data_parallel

    place = devices.listed_devices(args.device, args.gpus)
    with recording(args, place) as run:
        model = models.create(run.config, place.first)
        model = data_parallel(model, place)
        training.train(model, data.create_loader(run.config, place), run)


if __name__ == "__main__":
    start(main)
