"""What residual networks are made of: the basic block, shortcuts, stages, and how their layers begin."""

from __future__ import annotations

import math

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: `relu(x' + bn(conv(relu(bn(conv(x))))))`; the first one has the stride.

    The shortcut x' is x itself, or a 1x1 convolution of it where the block changes width or resolution.
    """

    EXPANSION = 1
    """Channels that leave a block, as a multiple of its width."""

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut(channels_in, width, stride)
        self.relu2 = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """Maps `[n, channels_in, h, w]` to `[n, width, h / stride, w / stride]`."""
        residual = self.relu1(self.bn1(self.conv1(maps)))
        residual = self.bn2(self.conv2(residual))
        result: Tensor = self.relu2(residual + self.downsample(maps))
        return result


class ResidualNetwork(nn.Module):
    """Base of networks that begin their layers as He et al. do."""

    def _init_weights(self, module: nn.Module) -> None:
        """Initialises one layer in place; `attach` treats the exit heads alike.

        Convolutions: N(0, sqrt(2 / (k * k * channels out))). Batch norm: the identity. Linear: torch's own.
        """
        if isinstance(module, nn.Conv2d):
            fan_out = math.prod(module.kernel_size) * module.out_channels
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d | nn.Linear):
            module.reset_parameters()


def shortcut(channels_in: int, channels_out: int, stride: int) -> nn.Module:
    """The identity, or a 1x1 convolution and batch norm where channels or resolution change."""
    if stride == 1 and channels_in == channels_out:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False), nn.BatchNorm2d(channels_out)
    )
