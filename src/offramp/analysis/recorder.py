"""A callback that analyses a model while `fit` trains it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from offramp.analysis.activations import activations
from offramp.analysis.gradients import gradient_dominance
from offramp.analysis.information import information_sweep
from offramp.analysis.rank import spectrum
from offramp.analysis.similarity import cka_matrix
from offramp.errors import AnalysisError
from offramp.exit_model import ExitModel
from offramp.training import Callback, Moment

SIGMAS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)


@dataclass(frozen=True)
class Snapshot:
    """A model after an epoch; plain data throughout.

    Attributes:
        epoch: counted from 1 through all phases; 0 before training.
        phase: that the epoch belongs to.
        dominance: of the exits' gradients, see `gradients.Dominance.to_dict`.
        ranks: by cut, the tolerance curve, see `rank.TOLERANCES`.
        effective_ranks: by cut.
        information: by cut, one entry per sigma: nats, lower bound, sigma, samples, share of log M, saturated.
        similarity: CKA `[cuts, cuts]`.
    """

    epoch: int
    phase: str
    dominance: dict[str, Any]
    ranks: dict[str, list[int]]
    effective_ranks: dict[str, float]
    information: dict[str, list[dict[str, Any]]]
    similarity: list[list[float]]


def snapshot(
    model: ExitModel,
    inputs: Tensor,
    labels: Tensor,
    *,
    sigmas: Sequence[float] = SIGMAS,
    epoch: int = 0,
    phase: str = "",
) -> Snapshot:
    """Every analysis of a model on one batch of samples.

    Args:
        model: with exits; weights and modes stay as they are.
        inputs: `[n, ...]`, samples that did not train.
        labels: `[n]`.
        sigmas: of the noise, in units of each layer's standard deviation, so that layers can be compared.
        epoch: to note.
        phase: to note.
    """
    found = activations(model, [(inputs, labels)], len(labels))
    spectra = {name: spectrum(part) for name, part in found.items()}
    return Snapshot(
        epoch=epoch,
        phase=phase,
        dominance=gradient_dominance(model, inputs, labels).to_dict(),
        ranks={name: one.curve() for name, one in spectra.items()},
        effective_ranks={name: one.effective for name, one in spectra.items()},
        information={name: _information(part, sigmas) for name, part in found.items()},
        similarity=cka_matrix(list(found.values())).tolist(),
    )


def _information(features: Tensor, sigmas: Sequence[float]) -> list[dict[str, Any]]:
    # Of the whole layer: its length per sample, so that width does not decide how much noise there is.
    scale = float((features - features.mean(dim=0)).square().sum(dim=1).mean().sqrt())
    swept = information_sweep(features / max(scale, 1e-12), sigmas)
    return [{**asdict(one), "share": one.share, "saturated": one.saturated} for one in swept]


class Recorder(Callback):
    """Takes a snapshot before training, and after every so many epochs.

    Args:
        inputs: samples that do not train, 256 or so: information needs all pairs of them.
        labels: theirs.
        every: epochs between two snapshots.
        sigmas: see `snapshot`.

    Attributes:
        snapshots: so far, oldest first; they survive an interruption with the run's checkpoint.

    Raises:
        AnalysisError: `every` is below 1, or there are fewer than two samples.
    """

    def __init__(self, inputs: Tensor, labels: Tensor, every: int = 1, sigmas: Sequence[float] = SIGMAS) -> None:
        if every < 1 or len(labels) < 2:
            raise AnalysisError(f"Recorder(every={every}) of {len(labels)} samples: give at least 1, and 2 samples.")
        self.inputs, self.labels, self.every, self.sigmas = inputs, labels, every, tuple(sigmas)
        self.snapshots: list[Snapshot] = []

    def run_begins(self, moment: Moment) -> None:
        """See `Callback`."""
        if moment.epoch == 0:
            self._take(moment)

    def epoch_done(self, moment: Moment) -> None:
        """See `Callback`."""
        if moment.epoch % self.every == 0:
            self._take(moment)

    def state_dict(self) -> dict[str, Any]:
        """See `Callback`."""
        return {"snapshots": [asdict(one) for one in self.snapshots]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Callback`."""
        self.snapshots = [Snapshot(**one) for one in state["snapshots"]]

    def _take(self, moment: Moment) -> None:
        if not isinstance(moment.model, ExitModel):
            raise AnalysisError(f"Recorder needs a model from offramp.attach, not {type(moment.model).__name__}.")
        # Looking must not change what training draws next.
        with torch.random.fork_rng(devices=[]):
            taken = snapshot(
                moment.model, self.inputs, self.labels, sigmas=self.sigmas, epoch=moment.epoch, phase=moment.phase
            )
        self.snapshots.append(taken)
