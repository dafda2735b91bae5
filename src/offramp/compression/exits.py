"""Models with exits whose parts were changed: stages and costs are derived, and have to be derived anew."""

from __future__ import annotations

from torch import nn

from offramp.exit_model import ExitModel


def refreshed(model: nn.Module) -> nn.Module:
    """A model with exits is put together again from its parts, so that its stages and costs are those of now.

    Args:
        model: any; without exits it is returned as it is.

    Raises:
        CutError: it cannot be cut any more.
    """
    if not isinstance(model, ExitModel):
        return model
    again = ExitModel(model.backbone, model.cuts, list(model.heads), model.signature, model.num_classes)
    again.training = model.training
    again.heads.training = model.heads.training
    return again
