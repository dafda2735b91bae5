"""A small vision transformer for images of any size, light enough to train on one core."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from offramp.errors import OfframpError
from offramp.zoo.architecture import Size, architecture, require_at_least_one
from offramp.zoo.encoder import EncoderBlock, sinusoids


class Patches(nn.Module):
    """Images `[n, channels, h, w]` to tokens `[n, (h / patch) (w / patch), width]`, with the place of each added.

    A token's place is half row, half column, each by sinusoids, so there is no weight that fixes the image size.
    """

    def __init__(self, in_channels: int, width: int, patch: int) -> None:
        super().__init__()
        if width % 4:
            raise OfframpError(f"width={width}: row and column take half each, in sines and cosines; give 4 k.")
        self.project = nn.Conv2d(in_channels, width, patch, stride=patch)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        maps = self.project(images)
        rows, columns, half = maps.shape[2], maps.shape[3], maps.shape[1] // 2
        row = sinusoids(rows, half)[:, None].expand(rows, columns, half)
        column = sinusoids(columns, half)[None].expand(rows, columns, half)
        places = torch.cat([row, column], dim=-1).flatten(0, 1)
        tokens: Tensor = maps.flatten(2).transpose(1, 2) + places.to(maps)
        return tokens


class VisionTransformer(nn.Module):
    """Patches, encoder blocks `blocks.0`, `blocks.1`, ..., the mean of the tokens, `fc`.

    Args:
        width: of a token; a multiple of 4.
        depth: number of blocks.
        heads: of the attention.
        patch: height and width of a patch in pixels; what does not fill a patch at the border is left out.
        hidden: width inside the blocks' MLPs; None means twice the width.
        num_classes: width of the output.
        in_channels: channels of the images.

    Raises:
        OfframpError: a size is below 1, or the width does not divide.

    Source: Dosovitskiy et al. 2021. Differs in fixed positions and in the mean over tokens in place of a class token.

    Example:
        >>> VisionTransformer(width=16, depth=2, patch=7, in_channels=1)(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        width: int = 48,
        depth: int = 6,
        heads: int = 4,
        patch: int = 4,
        hidden: int | None = None,
        *,
        num_classes: int = 10,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        require_at_least_one(width=width, depth=depth, heads=heads, patch=patch)
        require_at_least_one(num_classes=num_classes, in_channels=in_channels)
        self.patches = Patches(in_channels, width, patch)
        self.blocks = nn.ModuleList(EncoderBlock(width, heads, hidden or 2 * width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[n, num_classes]` of images `[n, in_channels, h, w]`."""
        tokens = self.patches(images)
        for block in self.blocks:
            tokens = block(tokens)
        logits: Tensor = self.fc(self.norm(tokens).mean(dim=1))
        return logits


@architecture("blocks.0", "blocks.1", "blocks.3", images="cifar")
def vit_mini(num_classes: int = 10, in_channels: int = 3, image_size: Size = 32) -> nn.Module:
    """Six blocks of width 48 on patches of 4x4; images of any size will do."""
    return VisionTransformer(num_classes=num_classes, in_channels=in_channels)
