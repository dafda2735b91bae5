"""Real images, checked and split: `load` a set, `split` it, and batch it with the loaders.

Nothing is read or fetched at import.
"""

from offramp.data.augmentation import Augmentation
from offramp.data.catalogue import DATASETS, load
from offramp.data.image_data import ImageData
from offramp.data.loaders import evaluation_loader, train_loader
from offramp.data.normalisation import Normalisation
from offramp.data.splits import Splits, split

__all__ = [
    "DATASETS",
    "Augmentation",
    "ImageData",
    "Normalisation",
    "Splits",
    "evaluation_loader",
    "load",
    "split",
    "train_loader",
]
