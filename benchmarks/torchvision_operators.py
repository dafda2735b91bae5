"""Lets timm and transformers be imported where torchvision was built for another torch than the one installed.

torchvision describes two operators of its compiled library to torch when it is imported, and stops where that library
does not load. Declaring them is enough for the models here, none of which calls them. For tests and benchmarks only:
a program should install the torchvision that fits its torch.
"""

from __future__ import annotations

from torch import library

SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_DECLARED: list[library.Library] = []
"""Kept, as a declaration lasts as long as its library object."""


def declare() -> None:
    """Declares the operators, once, if torchvision does not load without."""
    if _DECLARED:
        return
    try:
        import torchvision  # noqa: F401
    except ModuleNotFoundError:
        return
    except (ImportError, RuntimeError, OSError):
        operators = library.Library("torchvision", "FRAGMENT")
        for name, schema in SCHEMAS.items():
            operators.define(name + schema)
        _DECLARED.append(operators)
