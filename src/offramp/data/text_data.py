"""Labelled documents in memory, and the vocabulary that turns them into windows of token numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import torch
from torch import Tensor

from offramp.errors import DataError

UNKNOWN = 0


@dataclass(frozen=True)
class TextData:
    """Documents of words separated by spaces.

    Args:
        name: the set's short name, e.g. "20-newsgroups".
        documents: one text each.
        labels: int64 `[n]`, each in [0, len(classes)).
        classes: what the labels mean.
        provenance: where the documents come from, and whether that was checked.

    Raises:
        DataError: there is no document, or not one label per document.
    """

    name: str
    documents: tuple[str, ...]
    labels: Tensor
    classes: tuple[str, ...]
    provenance: str

    def __post_init__(self) -> None:
        if not self.documents or self.labels.shape != (len(self.documents),):
            raise DataError(
                f"{self.name}: {len(self.documents)} documents and labels of shape {list(self.labels.shape)}; give at "
                "least one document, and one label for each."
            )

    def __len__(self) -> int:
        return len(self.documents)


@dataclass(frozen=True)
class Vocabulary:
    """Words by number; number 0 stands for every word that is not in it.

    Args:
        numbers: of each word, from 1.

    Example:
        >>> Vocabulary.of(["a b a", "b a c"], size=3).encode(["c a b b a b"], window=4)
        tensor([[0, 1, 2, 2]])
    """

    numbers: Mapping[str, int]

    @classmethod
    def of(cls, documents: Iterable[str], size: int) -> Vocabulary:
        """The most frequent words; give the training split only.

        Args:
            documents: texts.
            size: numbers in use, the one of unknown words included; at least 2.

        Raises:
            DataError: `size` leaves no room for a word.
        """
        if size < 2:
            raise DataError(f"Vocabulary.of(size={size}): give at least 2, one number stands for unknown words.")
        counts = Counter(word for document in documents for word in document.split())
        # Equally frequent words by name, so that the numbers do not depend on the order of the documents.
        ranked = sorted(counts, key=lambda word: (-counts[word], word))[: size - 1]
        return cls({word: number for number, word in enumerate(ranked, start=1)})

    def encode(self, documents: Sequence[str], window: int) -> Tensor:
        """The first `window` words of each document as numbers, int64 `[n, window]`.

        A shorter document is repeated until the window is full, so that no token has to be masked.
        """
        return torch.tensor([self._window(document, window) for document in documents], dtype=torch.int64)

    def _window(self, document: str, window: int) -> list[int]:
        words = document.split()[:window] or [""]
        return [self.numbers.get(word, UNKNOWN) for word in islice(cycle(words), window)]
