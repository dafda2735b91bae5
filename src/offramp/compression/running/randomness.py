"""The state of every global random generator as plain data, for checkpoints."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def captured() -> dict[str, Any]:
    """States of Python's, NumPy's and torch's generators, those of all GPUs included."""
    kind, words, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        # As a tensor, since a checkpoint is read without running code from it.
        "numpy": (
            kind,
            torch.from_numpy(np.asarray(words, dtype=np.int64)),
            int(position),
            int(has_gauss),
            float(gauss),
        ),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore(state: Mapping[str, Any]) -> None:
    """Puts the generators where they were."""
    random.setstate(state["python"])
    kind, words, *rest = state["numpy"]
    np.random.set_state((kind, words.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
