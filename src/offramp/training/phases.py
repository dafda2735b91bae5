"""A regime's phases, checked against the model and the run before anything starts."""

from __future__ import annotations

from torch import nn

from offramp.errors import TrainingError
from offramp.regimes import Phase, Regime
from offramp.training.caching import can_cache
from offramp.training.options import TrainingOptions
from offramp.training.parts import trained_modules


def checked_phases(regime: Regime, model: nn.Module, options: TrainingOptions, validates: bool) -> tuple[Phase, ...]:
    """The phases for a model.

    Args:
        regime: how its exits learn.
        model: has exits.
        options: of the run.
        validates: whether there is validation data.

    Raises:
        TrainingError: no phases, two of one name, one with parts or exits that the model has not, with settings that do
            not go together, or with patience and nothing to see improvement on.
    """
    exits: int = model.exits  # type: ignore[assignment]
    phases = regime.phases(exits, options.epochs)
    names = [phase.name for phase in phases]
    if not phases or len(set(names)) != len(names):
        raise TrainingError(f"{regime!r} has the phases {names}; give at least one, each with a name of its own.")
    for phase in phases:
        phase.check(exits)
        trained_modules(model, phase)
        for change in phase.changes:
            change.check(model)
        if options.for_phase(phase).patience is not None and not validates:
            raise TrainingError(
                f"Phase '{phase.name}' has patience={options.for_phase(phase).patience}, which needs val=..., the data "
                "on which to see improvement."
            )
    if options.cache_features and not any(map(can_cache, phases)):
        raise TrainingError(
            f"fit(cache_features=...): in no phase of {type(regime).__name__} do only the heads train, so there are no "
            "features to keep. Use it with Disjoint, or leave it out."
        )
    return phases
