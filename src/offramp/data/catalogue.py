"""The data sets by name, and what happens where one cannot be had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from offramp.data import digit_pairs, digits, fashion_mnist
from offramp.data.image_data import ImageData
from offramp.errors import DataError, MissingExtraError, closest

Parts = tuple[ImageData, ImageData]

DATASETS: dict[str, Callable[[str | Path | None, bool], Parts]] = {
    fashion_mnist.NAME: fashion_mnist.load,
    digits.NAME: lambda folder, download: digits.load(),
    digit_pairs.NAME: lambda folder, download: digit_pairs.load(),
}


def load(
    name: str = fashion_mnist.NAME,
    folder: str | Path | None = None,
    download: bool = True,
    fallback: bool = True,
) -> Parts:
    """The training part and the test part of a data set.

    Args:
        name: a key of `DATASETS`.
        folder: where its files are; None to have them looked for.
        download: whether they may be fetched where they are not found.
        fallback: whether scikit-learn's digits may stand in for Fashion-MNIST where that cannot be had. The
            parts then carry a `notice`, which the caller must announce, and the name "digits".

    Raises:
        DataError: the name is unknown, the set cannot be had, or a file of it is damaged. A damaged file is
            never covered up by the fallback.

    Example:
        >>> train, test = load("digits")
        >>> train.images.shape
        torch.Size([1438, 1, 28, 28])
    """
    if name not in DATASETS:
        raise DataError(f"There is no data set '{name}'. {closest(name, DATASETS)}")
    try:
        return DATASETS[name](folder, download)
    except fashion_mnist.NotFoundError as error:
        if not fallback:
            raise
        return _stand_in(error)


def _stand_in(missing: fashion_mnist.NotFoundError) -> Parts:
    notice = (
        f"Scikit-learn's digits stand in for {fashion_mnist.NAME}. They are far too easy: these figures are a "
        f"smoke test and say nothing about early exits. {missing}"
    )
    try:
        train, test = digits.load()
    except MissingExtraError as error:
        raise DataError(f"{missing} Nor can the digits stand in: {error}") from error
    return replace(train, notice=notice), replace(test, notice=notice)
