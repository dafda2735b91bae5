"""Everything offramp raises, in one tree rooted at `OfframpError`.

A message says what is wrong (with the value), what is allowed, and what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class OfframpError(Exception):
    """Root of all errors raised on purpose by offramp."""


class AttachError(OfframpError, ValueError):
    """Exits cannot be attached as asked: unknown, repeated or misordered cuts, heads that do not fit."""


class CutError(AttachError):
    """A model cannot be divided at a place; the message names the reason and the nearest place that can."""


class PolicyError(OfframpError, ValueError):
    """A policy does not fit the model or recording it is used with, or is malformed."""


class HierarchyError(OfframpError, ValueError):
    """A hierarchy of classes is none: a class is missing, a group is its own ancestor, or nothing is grouped."""


class RecordingError(OfframpError, ValueError):
    """A recording is inconsistent: shapes, labels out of range, non-finite logits, nothing recorded."""


class CalibrationError(OfframpError, ValueError):
    """A calibration was asked for with impossible parameters."""


class InfeasibleError(OfframpError):
    """Raised by `Infeasible.unwrap()`: no policy reaches the goal; the message carries the best there is."""


class InputError(OfframpError, ValueError):
    """Inputs given to a model or runtime cannot be used: empty batch, other device, wrong shape."""


class StageError(OfframpError, RuntimeError):
    """A part of the network failed while exits were taken; the message names the part and the number of rows."""

    @classmethod
    def of(cls, name: str, rows: int, cause: Exception) -> StageError:
        """For the stage that ends at the cut `name`, run on this many rows."""
        said = str(cause).strip() or "no message"
        short = isinstance(cause, MemoryError) or "memory" in said.lower()
        advice = " Pass fewer rows per call." if short else ""
        return cls(
            f"The stage that ends at '{name}' failed on {rows} rows ({type(cause).__name__}: {said}).{advice} "
            "The runtime can go on with other inputs."
        )


class StreamError(OfframpError, RuntimeError):
    """A stream was asked for with impossible parameters, or is used after it was closed."""


class TrainingError(OfframpError, ValueError):
    """Training was asked for with impossible parameters, or its state on disk does not belong to it."""


class CompressionError(OfframpError, ValueError):
    """A compression was asked for with impossible settings, does not fit the model, or lost what it needs."""


class DataError(OfframpError):
    """A data file is missing, truncated, or not what its checksum promises."""


class AnalysisError(OfframpError, ValueError):
    """An analysis was asked for with impossible parameters, or of activations and weights that do not fit."""


class BenchmarkError(OfframpError, ValueError):
    """A benchmark's file has mistakes, or results on disk do not belong to what is asked for."""


class ExportError(OfframpError, RuntimeError):
    """A model cannot be written in a form: an operation does not convert, or what was written decides otherwise."""


class FileFormatError(OfframpError):
    """A saved file is of another kind, a newer format version, or damaged."""


class VerdictError(OfframpError, ValueError):
    """A verdict was asked for with impossible parameters, or what was executed is not what was predicted."""


class MissingExtraError(OfframpError, ImportError):
    """An optional dependency is needed; the message names the extra that brings it."""


def closest(name: str, known: Iterable[str], most: int = 3) -> str:
    """Phrase naming the known names nearest to `name`, for the tail of an error message.

    Example:
        >>> closest("layer9", ["layer1", "stem", "layer3"])
        "Closest: 'layer3', 'layer1'."
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, n=most, cutoff=0.4) or names[:most]
    return "Closest: " + ", ".join(repr(n) for n in near) + "." if near else "There are none."
