"""A U-Net that takes noise out of an image: two inputs, image and noise level, and a dict of two outputs.

python 02_baseline_single_gpu.py --model examples/unet.py --batch-size 8
"""

import torch
from torch import nn
from torch.nn import functional

from common.workload import Workload

PIXELS, WIDTH = 64, 32


def block(channels_in, channels_out):
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.GroupNorm(8, channels_out), nn.SiLU(),
        nn.Conv2d(channels_out, channels_out, 3, padding=1), nn.GroupNorm(8, channels_out), nn.SiLU(),
    )  # fmt: skip


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.level = nn.Linear(1, 4 * WIDTH)
        self.down1, self.down2, self.middle = block(3, WIDTH), block(WIDTH, 2 * WIDTH), block(2 * WIDTH, 4 * WIDTH)
        self.up2, self.up1 = block(6 * WIDTH, 2 * WIDTH), block(3 * WIDTH, WIDTH)
        self.noise, self.mask = nn.Conv2d(WIDTH, 3, 1), nn.Conv2d(WIDTH, 1, 1)

    def forward(self, image, level):
        """Image (batch, 3, height, width), level (batch, 1) -> the noise in it, and where the object is."""
        first = self.down1(image)
        second = self.down2(functional.max_pool2d(first, 2))
        third = self.middle(functional.max_pool2d(second, 2)) + self.level(level)[:, :, None, None]
        second = self.up2(torch.cat([functional.interpolate(third, scale_factor=2), second], dim=1))
        first = self.up1(torch.cat([functional.interpolate(second, scale_factor=2), first], dim=1))
        return {"noise": self.noise(first), "mask": self.mask(first)}


def sample(seed, index):
    """A bright square on grey, under noise of some level."""
    random = torch.Generator().manual_seed(hash((seed, index)) % 2**63)
    mask = torch.zeros(1, PIXELS, PIXELS)
    top, left = torch.randint(PIXELS // 2, (2,), generator=random)
    mask[:, top : top + PIXELS // 2, left : left + PIXELS // 2] = 1
    level, noise = torch.rand(1, generator=random), torch.randn(3, PIXELS, PIXELS, generator=random)
    return {"image": mask + level * noise, "level": level}, {"noise": noise, "mask": mask}


def loss(outputs, targets):
    of_mask = functional.binary_cross_entropy_with_logits(outputs["mask"], targets["mask"])
    return functional.mse_loss(outputs["noise"], targets["noise"]) + of_mask


def build():
    return Workload(model=UNet(), sample=sample, loss=loss, unit="images")
