"""What holds for every registered regime, on an image and on a text model."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import MODELS, train_loader, val_loader
from torch import Tensor

import offramp as ofr
from offramp.regimes import REGIMES, Regime, from_dict
from offramp.training import Callback, Moment
from offramp.training.parts import trained_modules

EPOCHS = 4
ALL = [(name, kind) for name in REGIMES for kind in MODELS]


def fitted(regime: Regime, kind: str = "image", **options: Any) -> tuple[ofr.ExitModel, ofr.History]:
    model = options.pop("model", None) or MODELS[kind]()
    arguments = {"train_loader": train_loader(kind), "val": val_loader(kind), "epochs": EPOCHS, "lr": 0.05, **options}
    return model, ofr.fit(model, regime=regime, seed=3, device="cpu", progress=False, **arguments)


def state(model: ofr.ExitModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Watcher(Callback):
    """Notes what changed in each phase, and calls `train()` after every step to thaw what must stay frozen."""

    def __init__(self) -> None:
        self.before: dict[str, Tensor] = {}
        self.changed: dict[str, set[str]] = {}

    def phase_begins(self, moment: Moment) -> None:
        self.before = state(moment.model)
        self.changed[moment.phase] = set()

    def step_done(self, moment: Moment) -> None:
        moment.model.train()

    def epoch_done(self, moment: Moment) -> None:
        now = state(moment.model)
        self.changed[moment.phase] |= {name for name in now if not torch.equal(now[name], self.before[name])}


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_what_is_frozen_does_not_change_by_a_bit_and_what_trains_does(name: str, kind: str):
    watcher, model = Watcher(), MODELS[kind]()
    prefixes = {"all": ("",), "backbone": ("backbone.",), "heads": ("heads.",)}
    _, history = fitted(REGIMES[name](), kind, callbacks=[watcher], model=model)
    assert len(history.rows) == EPOCHS
    for phase in REGIMES[name]().phases(model.exits, EPOCHS):
        changed = watcher.changed[phase.name]
        modules = {module: path for path, module in model.named_modules()}
        trained = {modules[module] for module in trained_modules(model, phase)}
        assert {full.rpartition(".")[0] for full in changed} <= trained
        assert changed, phase.name
        if phase.trains in prefixes:
            assert all(full.startswith(prefixes[phase.trains]) for full in changed)
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_losses_are_finite_and_something_is_learnt(name: str, kind: str):
    model, history = fitted(REGIMES[name](), kind)
    numbers = [x for row in history.rows for scores in (row.train, row.val) for x in scores.loss]
    assert all(map(math.isfinite, numbers))
    assert not same(state(model), state(MODELS[kind]()))
    assert json.loads(history.to_json())["stopped"] == "epochs"


class Stop(Callback):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def step_done(self, moment: Moment) -> None:
        if (moment.epoch, moment.step) == (self.epoch, 2):
            raise KeyboardInterrupt


@pytest.mark.parametrize("epoch", [2, 4])
@pytest.mark.parametrize("name", list(REGIMES))
def test_an_interrupted_run_ends_with_the_same_bits(name: str, epoch: int, tmp_path: Path):
    regime = REGIMES[name]()
    whole, expected = fitted(regime)
    with pytest.raises(KeyboardInterrupt):
        fitted(regime, callbacks=[Stop(epoch)], out=tmp_path)
    resumed, history = fitted(regime, model=MODELS["image"](seed=9), out=tmp_path, resume=True)
    assert history == expected
    assert same(state(resumed), state(whole))


@pytest.mark.parametrize("name", list(REGIMES))
def test_the_seed_alone_decides(name: str):
    ends = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        ends.append(state(fitted(REGIMES[name](), epochs=3)[0]))
    assert same(*ends)


@pytest.mark.parametrize("name", list(REGIMES))
def test_mixed_precision_keeps_weights_wide_and_losses_finite(name: str):
    model, history = fitted(REGIMES[name](), precision="bf16", epochs=2 if name != "branch_wise" else 3)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(map(math.isfinite, history.rows[-1].train.loss))


@pytest.mark.parametrize("name", list(REGIMES))
def test_plain_data_and_back(name: str):
    regime = REGIMES[name]()
    assert from_dict(json.loads(json.dumps(regime.to_dict()))) == regime
    assert regime.to_dict()["name"] == name
    phases = regime.phases(model_exits=3, epochs=6)
    assert sum(phase.epochs for phase in phases) == 6
