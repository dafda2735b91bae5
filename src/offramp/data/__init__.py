"""Real images, checked and split: `open_data` a folder or `load` a set by name, `split` it, and batch it.

Nothing is read or fetched at import.
"""

from offramp.data.augmentation import Augmentation
from offramp.data.catalogue import DATASETS, load
from offramp.data.crops import CentreCrop, Crop, RandomResizedCrop
from offramp.data.image_data import ImageData
from offramp.data.image_files import ImageFiles
from offramp.data.layouts.cifar import write as write_cifar_batches
from offramp.data.layouts.image_folder import write as write_image_folder
from offramp.data.loaders import evaluation_loader, train_loader
from offramp.data.normalisation import Normalisation
from offramp.data.opening import Opened, open_data
from offramp.data.splits import Splits, reduced, split

__all__ = [
    "DATASETS",
    "Augmentation",
    "CentreCrop",
    "Crop",
    "ImageData",
    "ImageFiles",
    "Normalisation",
    "Opened",
    "RandomResizedCrop",
    "Splits",
    "evaluation_loader",
    "load",
    "open_data",
    "reduced",
    "split",
    "train_loader",
    "write_cifar_batches",
    "write_image_folder",
]
