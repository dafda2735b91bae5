"""What segments can be lowered to. A backend is a module here with `lower(segments) -> programs`.

To add one: a new file, and its line in `BACKENDS`. Modules are imported when asked for, so that their packages may be
missing; they then raise `MissingExtraError`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from offramp.errors import PolicyError, closest
from offramp.segments import Segment

if TYPE_CHECKING:
    from offramp.runtimes.staged import Program

Lower = Callable[[Sequence[Segment]], "Sequence[Program]"]

BACKENDS: dict[str, str] = {
    name: f"offramp.runtimes.backends.{name}" for name in ("compile", "aoti", "cudagraphs", "onnxruntime", "openvino")
}
"""Module of each backend by its name; "eager" needs none."""


def backend(name: str) -> Lower:
    """The function that lowers segments for a backend.

    Raises:
        PolicyError: there is no such backend.
        MissingExtraError: its packages are not installed.
    """
    if name not in BACKENDS:
        raise PolicyError(f"deploy(backend={name!r}): there is no such backend. {closest(name, ['eager', *BACKENDS])}")
    found: Lower = importlib.import_module(BACKENDS[name]).lower
    return found
