"""Groups of classes that an exit confuses with each other, by agglomerative clustering."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from offramp.errors import HierarchyError, MissingExtraError
from offramp.recording import Recording


def confusion_groups(recording: Recording, counts: Sequence[int], exit: int = 0) -> tuple[tuple[int, ...], ...]:
    """Groups classes by how often one exit takes them for each other, with average linkage.

    Classes i and j are the nearer, the larger `(n_ij + n_ji) / (n_i + n_j)`: the share of their samples that the exit
    takes for the other. What counts as the truth is the label or, where there are none, what the last exit says.

    Args:
        recording: of held-out samples; the test split must not choose groups.
        counts: number of groups of each level, finer first: falling, from below the number of classes down to 2.
        exit: whose confusions count.

    Returns:
        For each level the number of the group of each class, numbered by their first class.

    Raises:
        HierarchyError: impossible counts or exit, or the test split.
        MissingExtraError: scipy is not installed.
    """
    _check(recording, counts, exit)
    tree = _scipy().linkage(_distances(recording, exit).numpy(), method="average")
    levels = _scipy().cut_tree(tree, n_clusters=list(counts)).T.tolist()
    return tuple(_numbered(level) for level in levels)


def _check(recording: Recording, counts: Sequence[int], exit: int) -> None:
    bounds = [recording.classes, *counts]
    if not counts or any(a <= b for a, b in itertools.pairwise(bounds)) or counts[-1] < 2:
        raise HierarchyError(
            f"Groups of {list(counts)}: with {recording.classes} classes, give numbers of groups that fall from below "
            f"{recording.classes} to 2 at least, e.g. [{max(2, recording.classes // 3)}]."
        )
    if not 0 <= exit < recording.exits:
        raise HierarchyError(f"exit={exit}: the recording has the exits 0 to {recording.exits - 1}.")
    if recording.meta.get("split") == "test":
        raise HierarchyError("The recording is of the split 'test', which must not choose groups: record another.")


def _distances(recording: Recording, exit: int) -> Tensor:
    """Condensed distances, `[classes (classes - 1) / 2]` float64, in [0, 1]."""
    classes = recording.classes
    truth = recording.predictions[-1] if recording.labels is None else recording.labels
    confusion = torch.bincount(truth * classes + recording.predictions[exit], minlength=classes**2)
    counts = confusion.reshape(classes, classes).double()
    sizes = counts.sum(dim=1)
    shared = (counts + counts.T) / (sizes[:, None] + sizes[None, :]).clamp_min(1)
    rows, columns = torch.triu_indices(classes, classes, offset=1)
    return 1 - shared[rows, columns]


def _numbered(clusters: Sequence[int]) -> tuple[int, ...]:
    order = {cluster: i for i, cluster in enumerate(dict.fromkeys(clusters))}
    return tuple(order[cluster] for cluster in clusters)


def _scipy() -> Any:
    try:
        return importlib.import_module("scipy.cluster.hierarchy")
    except ImportError as error:
        raise MissingExtraError(
            f"Finding groups needs scipy ({error}). Install it with: pip install 'offramp[hierarchy]'"
        ) from error
