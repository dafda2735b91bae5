"""A small transformer encoder that classifies a window of words; it takes token numbers, not images."""

from __future__ import annotations

from torch import Tensor, nn

from offramp.zoo.architecture import require_at_least_one
from offramp.zoo.encoder import EncoderBlock, sinusoids


class Words(nn.Module):
    """Token numbers `[n, t]` to tokens `[n, t, width]`, with the place of each added."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        # Embeddings of variance 1 would drown what the blocks add to them in so few steps.
        nn.init.normal_(self.embedding.weight, std=0.1)

    def forward(self, numbers: Tensor) -> Tensor:
        """See the class."""
        embedded: Tensor = self.embedding(numbers)
        places = 0.1 * sinusoids(embedded.shape[1], embedded.shape[2])
        return embedded + places.to(embedded)


class TextTransformer(nn.Module):
    """Word embeddings, encoder blocks `blocks.0`, `blocks.1`, ..., the mean of the tokens, `fc`.

    Args:
        vocabulary: number of known words, the unknown one included.
        width: of a token; even.
        depth: number of blocks.
        heads: of the attention.
        hidden: width inside the blocks' MLPs; None means twice the width.
        num_classes: width of the output.

    Raises:
        OfframpError: a size is below 1, or the width does not divide.

    Example:
        >>> import torch
        >>> TextTransformer(100, width=16, depth=2, num_classes=20)(torch.zeros(3, 8, dtype=torch.int64)).shape
        torch.Size([3, 20])
    """

    def __init__(
        self,
        vocabulary: int,
        width: int = 32,
        depth: int = 4,
        heads: int = 4,
        hidden: int | None = None,
        *,
        num_classes: int = 2,
    ) -> None:
        super().__init__()
        require_at_least_one(vocabulary=vocabulary, width=width, depth=depth, heads=heads, num_classes=num_classes)
        self.words = Words(vocabulary, width)
        self.blocks = nn.ModuleList(EncoderBlock(width, heads, hidden or 2 * width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, numbers: Tensor) -> Tensor:
        """Logits `[n, num_classes]` of token numbers `[n, t]`."""
        tokens = self.words(numbers)
        for block in self.blocks:
            tokens = block(tokens)
        logits: Tensor = self.fc(self.norm(tokens).mean(dim=1))
        return logits
