"""The contract of a layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from offramp.data.image_data import ImageData
from offramp.data.image_files import ImageFiles

Images = ImageData | ImageFiles
Parts = tuple[Images, Images]
"""The training part and the test part."""


@dataclass(frozen=True)
class Layout:
    """One way in which a data set lies in a folder.

    Attributes:
        name: short, for messages and records.
        looks: what a folder laid out so holds, for messages.
        kind: the kind of images that is usual in it; see `offramp.data.open_data`.
        home: the folder that really holds the files, for a folder that may be given: itself, or one inside; None where
            the folder is laid out otherwise. Looks at names only.
        read: reads the parts from a home; raises DataError where something is missing or damaged.
    """

    name: str
    looks: str
    kind: str
    home: Callable[[Path], Path | None]
    read: Callable[[Path], Parts]
