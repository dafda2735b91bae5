"""How data sets lie on disk: one file a layout, each of which tells whether a folder is laid out so, and reads it.

To add one: a new file here with a `Layout`, and its place in `LAYOUTS`. The more particular ones come first.
"""

from offramp.data.layouts import cifar, hub, image_folder, mnist
from offramp.data.layouts.layout import Layout, Parts

LAYOUTS: tuple[Layout, ...] = (cifar.LAYOUT, mnist.LAYOUT, hub.LAYOUT, image_folder.LAYOUT)

__all__ = ["LAYOUTS", "Layout", "Parts"]
