"""The data of the benchmark: each source gives the samples that train, that choose thresholds and that judge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import DataLoader, Dataset, RandomSampler

from offramp import data
from offramp.data import ImageData, Normalisation, digit_pairs, fashion_mnist, newsgroups
from offramp.data.text_data import TextData, Vocabulary
from offramp.errors import BenchmarkError, closest

if TYPE_CHECKING:
    from offramp.benchmark.suite import ProblemSpec

Batch = tuple[Tensor, Tensor]
EVALUATION_BATCH = 256


@dataclass(frozen=True, eq=False)
class Samples(Dataset[Batch]):
    """Inputs `[n, ...]` as the network takes them, and labels `[n]`; texts where there are any, for baselines."""

    inputs: Tensor
    labels: Tensor
    texts: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        """One sample."""
        return self.inputs[index], self.labels[index]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """A whole batch at once; the name is the one that torch's DataLoader calls."""
        chosen = torch.as_tensor(indices)
        return self.inputs[chosen], self.labels[chosen]

    def training(self, batch_size: int, steps: int) -> DataLoader[Batch]:
        """So many steps an epoch, on samples drawn without replacement, anew in every epoch."""
        sampler = RandomSampler(self, num_samples=batch_size * steps)
        return DataLoader(self, batch_size, sampler=sampler, drop_last=True, collate_fn=_as_it_is)

    def evaluation(self) -> DataLoader[Batch]:
        """All samples in order."""
        return DataLoader(self, EVALUATION_BATCH, collate_fn=_as_it_is)


@dataclass(frozen=True, eq=False)
class Parts:
    """The samples of one seed.

    Attributes:
        train: they train, and nothing else.
        calibration: they choose thresholds.
        test: they judge, once.
        shape: sizes of the network that follow from the data.
        provenance: where they come from.
    """

    train: Samples
    calibration: Samples
    test: Samples
    shape: dict[str, int] = field(default_factory=dict)
    provenance: str = ""


def _images(name: str, spec: ProblemSpec, seed: int, border: int = 0) -> Parts:
    """Images of a catalogued set, normalised by their training split.

    Args:
        name: of the set.
        spec: says how many.
        seed: draws training and calibration samples.
        border: black pixels added on every side, e.g. 2 to make 28x28 into 32x32.
    """
    train, test = _catalogued(name)
    rows = data.split(train.labels, validation=0, calibration=spec.calibration, train=spec.train, seed=seed)
    parts = (_taken(train, rows.train), _taken(train, rows.calibration), _first(test, spec.test))
    return _image_parts(parts, border)


def _digit_pairs(name: str, spec: ProblemSpec, seed: int, **options: Any) -> Parts:
    """Pairs for each purpose of digits of its own, so that calibration samples are as new as test samples."""
    wanted = (("train", spec.train, seed), ("validation", spec.calibration, seed), ("test", spec.test, 0))
    return _image_parts(tuple(digit_pairs.draw(pool, pairs, draw, **options) for pool, pairs, draw in wanted), 0)


def _newsgroups(name: str, spec: ProblemSpec, seed: int, vocabulary: int = 5_000, window: int = 64) -> Parts:
    """Windows of words, numbered by the frequency in the training split."""
    train, test = _news()
    rows = data.split(train.labels, validation=0, calibration=spec.calibration, train=spec.train, seed=seed)
    words = Vocabulary.of((train.documents[row] for row in rows.train.tolist()), vocabulary)
    test_rows = data.split(test.labels, validation=0, calibration=0, train=spec.test, seed=0).train
    parts = (_read(train, rows.train, words, window), _read(train, rows.calibration, words, window))
    shape = {"num_classes": len(train.classes), "vocabulary": vocabulary}
    return Parts(*parts, _read(test, test_rows, words, window), shape, train.provenance)


SOURCES: dict[str, Callable[..., Parts]] = {
    fashion_mnist.NAME: _images,
    data.digits.NAME: _images,
    digit_pairs.NAME: _digit_pairs,
    newsgroups.NAME: _newsgroups,
}


def check_source(name: str) -> None:
    """Refuses a name that is no source.

    Raises:
        BenchmarkError: naming the closest.
    """
    if name not in SOURCES:
        raise BenchmarkError(f"there is no data set '{name}'. {closest(name, SOURCES)}")


def parts(spec: ProblemSpec, seed: int) -> Parts:
    """The samples of a problem for a seed.

    Raises:
        DataError: the set cannot be had, or has fewer samples than asked for.
        BenchmarkError: the source does not take the options.
    """
    try:
        return SOURCES[spec.data](spec.data, spec, seed, **spec.data_options)
    except TypeError as error:
        raise BenchmarkError(f"The data set '{spec.data}' does not take {spec.data_options} ({error}).") from error


@lru_cache(maxsize=2)
def _catalogued(name: str) -> tuple[ImageData, ImageData]:
    return data.load(name, fallback=False)


@lru_cache(maxsize=1)
def _news() -> tuple[TextData, TextData]:
    return newsgroups.load()


def _taken(images: ImageData, rows: Tensor) -> ImageData:
    return ImageData(images.name, images.images[rows], images.labels[rows], images.classes, images.provenance)


def _first(images: ImageData, count: int) -> ImageData:
    if count > len(images):
        raise BenchmarkError(f"test = {count}: {images.name} has {len(images)} test samples. Ask for fewer.")
    return _taken(images, torch.arange(count))


def _image_parts(images: Iterable[ImageData], border: int) -> Parts:
    train, calibration, test = images
    normalised = Normalisation.of(train.images)

    def samples(part: ImageData) -> Samples:
        return Samples(pad(normalised(part.images), (border,) * 4), part.labels)

    shape = {"num_classes": len(train.classes), "in_channels": train.channels}
    return Parts(samples(train), samples(calibration), samples(test), shape, train.provenance)


def _read(text: TextData, rows: Tensor, words: Vocabulary, window: int) -> Samples:
    documents = [text.documents[row] for row in rows.tolist()]
    return Samples(words.encode(documents, window), text.labels[rows], documents)


def _as_it_is(batch: Any) -> Any:
    # What arrives is a batch already.
    return batch
