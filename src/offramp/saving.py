"""An ExitModel on disk: `exit_model.safetensors` (weights, example) and `exit_model.json` (what they belong to)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from offramp.documents import DocumentKind
from offramp.errors import FileFormatError
from offramp.exit_model import ExitModel, attach
from offramp.heads import HEADS, ExitHead, Head

KIND = DocumentKind("offramp.exit_model", 1, "saved model", "Write one with ExitModel.save.")
WEIGHTS = "exit_model.safetensors"
DESCRIPTION = "exit_model.json"
FIELDS = ("backbone", "cuts", "num_classes", "heads", "example", "meta")


def save(model: ExitModel, folder: str | Path, meta: dict[str, Any] | None = None) -> None:
    """Writes a model; files are replaced only when they are complete.

    Raises:
        FileFormatError: the folder cannot be written, or `meta` or a constant input is no plain data.
    """
    path = Path(folder)
    tensors = {f"model.{k}": v.detach().cpu().clone().contiguous() for k, v in model.state_dict().items()}
    leaves, tree = list(model.signature.leaves), model.signature.tree
    tensors |= {f"example.{i}": x.contiguous() for i, x in enumerate(leaves) if isinstance(x, Tensor)}
    description = {
        "backbone": type(model.backbone).__name__,
        "cuts": list(model.cuts),
        "num_classes": model.num_classes,
        "heads": [_head_description(head) for head in model.heads],
        "example": {
            "tree": pytree.treespec_dumps(tree),
            "constants": [None if isinstance(x, Tensor) else x for x in leaves],
        },
        "meta": meta or {},
    }
    try:
        path.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_file(tensors, path / f"{WEIGHTS}.part")
        # The description first: where meta is no plain data, the weights of before stay.
        KIND.write(path / DESCRIPTION, description)
        (path / f"{WEIGHTS}.part").replace(path / WEIGHTS)
    except (OSError, safetensors.SafetensorError) as error:
        raise FileFormatError(
            f"The model cannot be written to {path} ({error}). Choose a folder you can write to."
        ) from error


def describe(folder: str | Path) -> dict[str, Any]:
    """The description of a saved model, `meta` included, without loading its weights.

    Raises:
        FileFormatError: there is none, or it is of another kind or a newer version.
    """
    path = Path(folder) / DESCRIPTION
    data = KIND.read(path)
    missing = [name for name in FIELDS if name not in data]
    if missing:
        raise FileFormatError(f"{path} lacks the fields {missing}: restore it, or save the model again.")
    return data


def load(folder: str | Path, backbone: nn.Module, head: Head | Sequence[Head] | None = None) -> ExitModel:
    """See `ExitModel.load`."""
    data = describe(folder)
    tensors = _read_tensors(Path(folder) / WEIGHTS)
    state = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    if type(backbone).__name__ != data["backbone"]:
        raise FileFormatError(
            f"{folder} holds a {data['backbone']}, the backbone given is a "
            f"{type(backbone).__name__}: build the one that was saved."
        )
    _check_backbone(folder, backbone, state)
    unknown = [h["class"] for h in data["heads"] if "name" not in h]
    if unknown and head is None:
        raise FileFormatError(
            f"{folder} has heads of your own ({', '.join(unknown)}): pass them as load(..., head=...)."
        )
    heads = head if head is not None else [_head_of(h) for h in data["heads"]]
    example = _read_example(data["example"], tensors)
    model = attach(backbone, data["cuts"], example, data["num_classes"], heads)
    _load_state(folder, model, state)
    return model


def _head_description(head: nn.Module) -> dict[str, Any]:
    if isinstance(head, ExitHead) and type(head) in HEADS.values():
        known = {"name": HEADS.name_of(type(head)), "class": type(head).__name__}
        return {**known, "settings": head.settings()} if head.settings() else known
    return {"class": type(head).__name__}


def _head_of(description: dict[str, Any]) -> Head:
    """What `attach` builds the head from again."""
    name = description["name"]
    settings = description.get("settings", {})
    return partial(HEADS[name].for_features, **settings) if settings else str(name)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
        return tensors
    except FileNotFoundError as error:
        raise FileFormatError(f"There is no {path}.") from error
    except (OSError, safetensors.SafetensorError) as error:
        raise FileFormatError(f"{path} is damaged or truncated ({error}). Restore it, or train again.") from error


def _read_example(data: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    leaves = [tensors.get(f"example.{i}", constant) for i, constant in enumerate(data["constants"])]
    args, kwargs = pytree.tree_unflatten(leaves, pytree.treespec_loads(data["tree"]))
    return kwargs if kwargs else args


def _check_backbone(folder: str | Path, backbone: nn.Module, state: dict[str, Tensor]) -> None:
    saved = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}
    own = backbone.state_dict()
    differing = [k for k in own.keys() & saved.keys() if own[k].shape != saved[k].shape]
    wrong = sorted([*(own.keys() ^ saved.keys()), *differing])
    if wrong:
        raise FileFormatError(
            f"{folder} holds the weights of another model: {len(wrong)} tensors differ in name or shape, e.g. "
            f"{wrong[:3]}. Build the backbone with the same sizes as the saved one."
        )


def _load_state(folder: str | Path, model: ExitModel, state: dict[str, Tensor]) -> None:
    try:
        with torch.no_grad():
            model.load_state_dict(state)
    except RuntimeError as error:
        raise FileFormatError(f"{folder} holds the weights of other heads: {error}") from error
