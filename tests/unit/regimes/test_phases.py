"""Phases with parts, settings, patience per exit, and the guards around a trained backbone."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import image_model, text_model, train_loader, val_loader
from torch import nn

import offramp as ofr
from offramp.errors import RecordingError, TrainingError
from offramp.metrics import paired_difference
from offramp.regimes import BackboneAlone, Disjoint, Mixed, Phase, Regime, Settings, WeightedCrossEntropy
from offramp.training import FinalExitCheck, History, check_final_exit
from offramp.training.checkpoint import RunState
from offramp.training.history import EpochRow, Scores
from offramp.training.parts import stages_of_modules, trained_modules

MEAN = WeightedCrossEntropy((1 / 3,) * 3)


@dataclass(frozen=True)
class Given(Regime):
    """The phases it is given."""

    given: tuple[Phase, ...] = field(default=())

    def phases(self, model_exits: int, epochs: int) -> tuple[Phase, ...]:
        return self.given

    def to_dict(self) -> dict[str, Any]:
        return {"name": "given"}


def fit(regime: Regime, model: ofr.ExitModel | None = None, **options: Any) -> History:
    arguments = {"epochs": 2, "lr": 0.05, "val": val_loader(), **options}
    return ofr.fit(model or image_model(), train_loader(), regime=regime, device="cpu", progress=False, **arguments)


def test_modules_belong_to_the_stage_that_calls_them_first():
    model = image_model()
    found = stages_of_modules(model)
    stages = {name: found[module] for name, module in model.backbone.named_modules()}
    assert {name: stages[name] for name in ("stem", "blocks.0", "blocks.0.body.1", "blocks.1", "blocks.2", "out")} == {
        "stem": 0,
        "blocks.0": 0,
        "blocks.0.body.1": 0,
        "blocks.1": 1,
        "blocks.2": 2,
        "out": 2,
    }
    assert stages["dropout"] == 2


def test_a_module_that_is_never_called_goes_with_its_parent():
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x, x, x)[0]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.out = Attention(), Attention(), nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.second(self.first(x)).mean(1))

    model = ofr.attach(Net(), at=["first"], example=torch.zeros(1, 4, 8))
    stages = stages_of_modules(model)
    # Its weights are used by the function that multi-head attention calls, not by a call of the module.
    assert stages[model.backbone.first.inner.out_proj] == 0
    assert stages[model.backbone.second.inner.out_proj] == 1


def test_parts_may_be_several_and_named():
    model = image_model()
    phase = Phase("tail", 1, MEAN, trains=("stages.2", "heads.1"))
    trained = trained_modules(model, phase)
    assert model.backbone.blocks[2] in trained
    assert model.heads[1] in trained
    assert model.heads[0] not in trained
    assert model.backbone.blocks[1] not in trained


def test_what_its_owner_froze_stays_frozen_through_all_phases():
    model = image_model()
    model.backbone.stem.requires_grad_(False)
    before = model.backbone.stem.weight.clone()
    fit(Mixed(), model)
    assert torch.equal(model.backbone.stem.weight, before)
    assert not model.backbone.stem.weight.requires_grad


@pytest.mark.filterwarnings("ignore:Phase")
def test_a_parameter_shared_with_a_frozen_module_is_frozen():
    model = image_model()
    model.heads[0].linear.weight = model.backbone.out.weight
    before = model.backbone.out.weight.clone()
    fit(Disjoint(first=0), model)
    assert torch.equal(model.backbone.out.weight, before)


def test_each_phase_has_its_own_settings():
    regime = Mixed(
        first=1,
        backbone=Settings(optimizer="adamw", schedule="constant"),
        joint=Settings(lr_factor=0.1, schedule="step"),
    )
    history = fit(regime, epochs=3, lr=0.05)
    # AdamW has its own usual rate, as the run's is for SGD.
    assert [row.lr for row in history.rows] == pytest.approx([0.001, 0.005, 0.0005])


def test_a_factor_scales_an_optimizer_of_ones_own_too():
    history = fit(Mixed(joint=Settings(lr_factor=0.5)), optimizer=lambda p: torch.optim.SGD(p, lr=0.02), lr=None)
    assert [row.lr for row in history.rows] == pytest.approx([0.02, 0.01])


def test_momentum_and_weight_decay_of_the_run_hold_in_a_phase_that_changes_the_rate():
    options = ofr.training.TrainingOptions(momentum=0.8, weight_decay=0.01)
    phase = Phase("joint", 2, MEAN, settings=Settings(lr=0.3))
    assert (options.for_phase(phase).momentum, options.for_phase(phase).weight_decay) == (0.8, 0.01)


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ((), "give at least one"),
        ((Phase("a", 1, MEAN), Phase("a", 1, MEAN)), r"phases \['a', 'a'\]"),
        ((Phase("a", 1, MEAN, trains="backbon"),), "trains 'backbon', which ExitModel has not. Closest: 'backbone'"),
        ((Phase("a", 1, MEAN, trains="heads.7"),), "trains 'heads.7', which ExitModel has not"),
        ((Phase("a", 1, MEAN, trains="stages.3"),), "'stages.3'; the model has stages.0 to stages.2"),
        ((Phase("a", 1, MEAN, watches=(3,)),), r"watches the exits \[3\]; the model has the exits 0 to 2"),
        ((Phase("a", 1, MEAN, watches=()),), r"watches the exits \[\]"),
        ((Phase("a", 1, WeightedCrossEntropy((1.0,))),), r"1 weights \[1.0\], the model has 3 exits"),
        ((Phase("a", 1, WeightedCrossEntropy((0.0,) * 3)),), "with none above 0 nothing would train"),
        ((Phase("a", 1, MEAN, settings=Settings(lr=-1)),), r"Phase 'a' \(1 epochs\): .*lr=-1 must be a number above 0"),
        ((Phase("a", 1, MEAN, settings=Settings(warmup=2)),), "warmup=2 is longer than epochs=1"),
        ((Phase("a", 1, MEAN, settings=Settings(optimizer="sdg")),), "optimizer='sdg' is unknown"),
        ((Phase("a", 1, MEAN), Phase("b", 1, MEAN, settings=Settings(patience=0))), "Phase 'b'.*patience=0"),
    ],
)
def test_phases_that_do_not_fit_are_named_at_once(phases: tuple[Phase, ...], message: str, tmp_path: Path):
    with pytest.raises(TrainingError, match=message):
        fit(Given(phases), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_patience_of_a_phase_needs_validation_data():
    with pytest.raises(TrainingError, match=r"Phase 'heads' has patience=1, which needs val="):
        fit(Disjoint(heads=Settings(patience=1)), val=None)


def test_stages_need_a_model_from_attach():
    class Bare(nn.Module):
        exits = 3

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [x] * 3

    with pytest.raises(
        TrainingError, match=r"Bare has no cuts to take hold of: this regime needs a model from offramp.attach"
    ):
        trained_modules(Bare(), Phase("a", 1, MEAN, trains="stages.0"))


def test_the_regime_of_a_resumed_run_is_compared_field_by_field(tmp_path: Path):
    fit(Mixed(), out=tmp_path)
    with pytest.raises(TrainingError, match=r"regime.joint.lr_factor is absent in the checkpoint and 0.1 now"):
        fit(Mixed(joint=Settings(lr_factor=0.1)), out=tmp_path, resume=True)
    with pytest.raises(TrainingError, match=r"regime.name is mixed in the checkpoint and disjoint now"):
        fit(Disjoint(), out=tmp_path, resume=True)


def judged(accuracies: list[tuple[float, ...]], patience: int, watched: tuple[int, ...]) -> tuple[RunState, list[str]]:
    state, verdicts = RunState(), []
    for k, accuracy in enumerate(accuracies):
        scores = Scores((1.0,) * len(accuracy), accuracy, 10)
        row = EpochRow(k + 1, "joint", 0.1, scores, scores, 1.0)
        verdicts.append(state.enter(row, 99, patience, lambda: ({}, {}), watched))
    return state, verdicts


def test_a_phase_ends_when_every_exit_is_out_of_patience_at_once():
    # Exit 0 peaks at epoch 2 and again at 4; exit 1 peaks at epoch 1 and is out from epoch 3 on.
    accuracies = [(0.1, 0.9), (0.3, 0.8), (0.2, 0.8), (0.4, 0.7), (0.4, 0.8), (0.3, 0.9)]
    state, verdicts = judged(accuracies, patience=2, watched=(0, 1))
    assert verdicts == ["running"] * 5 + ["patience"]
    assert state.waited == [2, 5]
    assert state.best_epoch == 5


def test_only_watched_exits_decide():
    accuracies = [(0.1, 0.9), (0.3, 0.8), (0.5, 0.7)]
    assert judged(accuracies, patience=2, watched=(1,))[1][-1] == "patience"
    assert judged(accuracies, patience=2, watched=(1,))[0].best_epoch == 1
    assert judged(accuracies, patience=2, watched=(0,))[0].best_epoch == 3


def test_usual_watch():
    assert Phase("a", 1, MEAN, trains="backbone").watched(4) == (3,)
    assert Phase("a", 1, MEAN, trains="heads").watched(4) == (0, 1, 2)
    assert Phase("a", 1, MEAN).watched(4) == (0, 1, 2, 3)


def test_a_backbone_that_was_never_trained_is_announced_with_its_accuracy():
    with pytest.warns(UserWarning, match=r"Phase 'heads' builds on a trained backbone.*right on .* % of 48 samples"):
        fit(Disjoint(first=0))
    with pytest.warns(UserWarning, match=r"% of 48 samples"):
        fit(Disjoint(first=0), val=None)


def test_a_trained_backbone_is_not_warned_of():
    model = text_model()
    loaders = {"train_loader": train_loader("text"), "val": val_loader("text")}
    options = {**loaders, "device": "cpu", "progress": False, "lr": 0.02}
    ofr.fit(model, regime=BackboneAlone(), epochs=12, optimizer="adamw", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = ofr.fit(model, regime=Disjoint(first=0), epochs=1, **options)
    check = history.final_exit
    assert check is not None
    assert check.alone == check.after > 0.5
    assert not check.worse


def test_the_history_compares_the_final_exit_with_the_backbone_alone(tmp_path: Path):
    kept = fit(Disjoint(), out=tmp_path).final_exit
    assert kept is not None
    assert kept.alone == kept.after
    assert History.load(tmp_path / "history.json").final_exit == kept
    ruined = fit(Mixed(joint=Settings(lr=9.0)), epochs=4).final_exit
    assert ruined is not None
    assert fit(BackboneAlone()).final_exit is None


@pytest.mark.parametrize(("lost", "won", "worse"), [(30, 5, True), (5, 30, False), (10, 8, False)])
def test_worse_means_beyond_the_interval(lost: int, won: int, worse: bool):
    alone, after = torch.ones(100, dtype=torch.bool), torch.ones(100, dtype=torch.bool)
    after[:lost] = False
    alone[lost : lost + won] = False
    check = FinalExitCheck.of(alone, after)
    assert check.worse is worse
    assert (check.low, check.high) == paired_difference(lost, won, 100)
    assert check.low <= (won - lost) / 100 <= check.high
    assert ("worse than" in check.sentence()) is worse


def test_recordings_of_other_samples_are_refused():
    one = ofr.Recording([[[0.0, 1.0]] * 2], labels=[1, 0], macs=[10])
    other = ofr.Recording([[[0.0, 1.0]] * 2], labels=[0, 0], macs=[10])
    with pytest.raises(RecordingError, match="different labels"):
        check_final_exit(one, other)
    with pytest.raises(RecordingError, match="same samples only"):
        FinalExitCheck.of(torch.ones(2, dtype=torch.bool), torch.ones(3, dtype=torch.bool))
