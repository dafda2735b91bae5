"""Which model a command works on: what a name like `timm:resnet18` stands for, and inputs to try it with.

| name | the model |
|---|---|
| `resnet20_cifar` | a network of the zoo |
| `resnet20_cifar_earlyexit` | the same with the exits it was published with, where a command says so |
| `timm:resnet18` | a network of timm |
| `hf:bert` | a small network of a Hugging Face architecture |
| `hf:path/to/folder` | the classifier saved there by Hugging Face's `save_pretrained` |
| `package.module:factory` | whatever the callable gives, or the module of that name |

All weights are random, except those found in a folder. Nothing is downloaded.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from offramp import zoo
from offramp.cli.failures import UsageError
from offramp.errors import closest
from offramp.exit_model import ExitModel

Shape = tuple[int, ...]
Resolved = tuple[nn.Module, Any]

COLOUR = (3, 32, 32)
TOKENS = 16

ADVICE = "Where torchvision is named, install the one that was built for this torch."

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "hidden_dim": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 512,
    "max_position_embeddings": 128,
    "image_size": 32,
    "patch_size": 8,
    "num_labels": 10,
    "pad_token_id": 0,
}
"""Sizes of the Hugging Face networks that are built from their architecture's name alone."""


def resolve(name: str, shape: Shape | None = None) -> Resolved:
    """The model that a name stands for, in evaluation mode, and inputs for it: two rows.

    Args:
        name: see the module's docstring.
        shape: of one input without the batch, e.g. `(3, 224, 224)`, or `(16,)` for that many tokens; None for the
            model's own, where it has one.

    Raises:
        UsageError: there is no such model, its package cannot be imported, or it needs a shape.
    """
    kind, _, rest = name.partition(":")
    make = _SOURCES.get(kind) if rest else _zoo
    model, example = make(rest or name, shape) if make else _own(name, shape)
    return model.eval(), example


def twin(name: str, shape: Shape | None = None) -> ExitModel | None:
    """The network with its published exits, in evaluation mode, where the name is `NAME_earlyexit`; else None.

    Args:
        name: of any model.
        shape: of one input, as for `resolve`.

    Raises:
        UsageError: the shape is not one of images.
    """
    if name not in zoo.names() or not zoo.is_early_exit(name):
        return None
    channels, height, width = _image_shape_for(name, shape)
    return zoo.build_with_exits(name, in_channels=channels, image_size=(height, width)).eval()


def _zoo(name: str, shape: Shape | None) -> Resolved:
    if name not in zoo.ARCHITECTURES:
        raise UsageError(_no_such_network(name))
    channels, height, width = _image_shape_for(name, shape)
    return zoo.build(name, in_channels=channels, image_size=(height, width)), _images((channels, height, width))


def _no_such_network(name: str) -> str:
    if name in zoo.names():
        plain, cuts = zoo.plain_name(name), " ".join(zoo.published_exits(name))
        return f"{name} is {plain} with exits behind {cuts}: here say {plain} --at {cuts}."
    return (
        f"There is no architecture '{name}' in the zoo. {closest(name, zoo.names())} Other models are written "
        "timm:NAME, hf:NAME, or package.module:factory."
    )


def _image_shape_for(name: str, shape: Shape | None) -> tuple[int, int, int]:
    """Channels, height and width of a network's images."""
    shape = shape or zoo.images_for(name).shape
    if len(shape) != 3:
        raise UsageError(f"{name} takes images; --input {shape} must be channels, height and width, e.g. 3,32,32.")
    return shape


def _timm(name: str, shape: Shape | None) -> Resolved:
    timm = _imported("timm", f"timm:{name}")
    if not timm.is_model(name):
        raise UsageError(f"timm has no model '{name}'. {closest(name, timm.list_models())}")
    model = timm.create_model(name)
    known = model.pretrained_cfg
    if shape is None:
        return model, _images(tuple(known["input_size"]))
    sized = {"img_size": shape[-1]} if known.get("fixed_input_size") else {}
    return timm.create_model(name, in_chans=shape[0], **sized), _images(shape)


def _hugging_face(name: str, shape: Shape | None) -> Resolved:
    transformers = _imported("transformers", f"hf:{name}")
    folder = Path(name)
    try:
        config = _saved_config(transformers, folder) if folder.is_dir() else _small_config(transformers, name)
        classifier = _classifier(transformers, config, name)
        weights = folder if any(folder.glob("*.safetensors")) else None
        model = classifier.from_pretrained(weights, config=config) if weights else classifier.from_config(config)
    except ImportError as error:
        raise UsageError(f"hf:{name} cannot be imported ({_root(error)}). {ADVICE}") from error
    images = classifier is transformers.AutoModelForImageClassification
    return model, {"pixel_values": _images(_image_shape(config, shape))} if images else _tokens(config, shape)


def _saved_config(transformers: Any, folder: Path) -> Any:
    try:
        return transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"hf:{folder}: no Hugging Face configuration can be read there ({error}).") from error


def _small_config(transformers: Any, name: str) -> Any:
    known = transformers.CONFIG_MAPPING
    if name not in known:
        raise UsageError(
            f"hf:{name} is neither a folder nor an architecture of transformers. {closest(name, known.keys())}"
        )
    default = transformers.AutoConfig.for_model(name)
    # Networks that halve the image at every stage give all their sizes in lists, which only fit each other.
    shrinks = not hasattr(default, "depths")
    small = {size: v for size, v in SMALL.items() if shrinks and isinstance(getattr(default, size, None), int)}
    # Decoders pick the last token that is no padding, and need to know what padding is.
    small |= {"num_labels": SMALL["num_labels"], "pad_token_id": SMALL["pad_token_id"]}
    return transformers.AutoConfig.for_model(name, **small)


def _classifier(transformers: Any, config: Any, name: str) -> Any:
    kinds = (transformers.AutoModelForSequenceClassification, transformers.AutoModelForImageClassification)
    for kind in kinds:
        if type(config) in kind._model_mapping:
            return kind
    raise UsageError(f"hf:{name}: transformers has no classifier of sequences or images for {type(config).__name__}.")


def _image_shape(config: Any, shape: Shape | None) -> Shape:
    size = getattr(config, "image_size", None) or COLOUR[-1]
    height, width = (size, size) if isinstance(size, int) else tuple(size)
    return shape or (getattr(config, "num_channels", COLOUR[0]), height, width)


def _tokens(config: Any, shape: Shape | None) -> dict[str, Tensor]:
    length = (shape or (TOKENS,))[0]
    ids = torch.randint(1, config.vocab_size, (2, length), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _own(name: str, shape: Shape | None) -> Resolved:
    if shape is None:
        raise UsageError(f"{name}: say what its inputs look like, e.g. --input 3,224,224.")
    found = _attribute(name)
    model = found if isinstance(found, nn.Module) else found()
    if not isinstance(model, nn.Module):
        raise UsageError(f"{name} gives a {type(model).__name__}; it must give a torch.nn.Module.")
    return model, _images(shape)


def _attribute(name: str) -> nn.Module | Callable[[], Any]:
    module_name, _, attribute = name.partition(":")
    # As with `python -m`, so that a model beside the prompt is found.
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UsageError(f"{name}: the module {module_name} cannot be imported ({error}).") from error
    finally:
        sys.path.pop(0)
    try:
        found: nn.Module | Callable[[], Any] = getattr(module, attribute)
    except AttributeError as error:
        raise UsageError(f"{name}: {module_name} has no {attribute!r}. {closest(attribute, dir(module))}") from error
    return found


def _imported(package: str, wanted: str) -> Any:
    """A package that is no dependency of offramp."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise UsageError(f"{wanted} needs {package}, and {error}: pip install {package}") from error
    # timm imports torchvision, which fails with a RuntimeError where it was built for another torch.
    except (ImportError, RuntimeError, OSError) as error:
        raise UsageError(
            f"{wanted} needs {package}, which is installed but fails to import ({_root(error)}). {ADVICE}"
        ) from error


def _root(error: BaseException) -> str:
    """What an import failed for in the first place."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


def _images(shape: Shape) -> Tensor:
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))


_SOURCES: dict[str, Callable[[str, Shape | None], Resolved]] = {"timm": _timm, "hf": _hugging_face}
