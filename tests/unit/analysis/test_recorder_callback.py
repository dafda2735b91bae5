from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import offramp as ofr
from offramp.analysis import Recorder, activations
from offramp.errors import AnalysisError
from offramp.regimes import Mixed


def make() -> ofr.ExitModel:
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)
    )
    return ofr.attach(backbone, at=["2", "5"], example=torch.zeros(2, 4))


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(3, (48,), generator=generator)
    return torch.eye(3, 4)[labels] + 0.3 * torch.randn(48, 4, generator=generator), labels


def trained(**options) -> ofr.ExitModel:
    model = make()
    loader = DataLoader(TensorDataset(*data()), 16, shuffle=True)
    ofr.fit(model, loader, regime=Mixed(), epochs=4, lr=0.05, device="cpu", progress=False, **options)
    return model


def test_every_epoch_is_recorded_with_its_phase():
    recorder = Recorder(*data(), every=2)
    trained(callbacks=[recorder])
    assert [(one.epoch, one.phase) for one in recorder.snapshots] == [(0, "backbone"), (2, "backbone"), (4, "joint")]
    last = recorder.snapshots[-1]
    assert list(last.effective_ranks) == ["2", "5"]
    assert all(1 <= rank <= 8 for rank in last.effective_ranks.values())
    assert len(last.information["2"]) == 6
    assert last.similarity[0][0] == pytest.approx(1.0)
    assert sum(last.dominance["signed_shares"][0]) == pytest.approx(1.0)
    json.dumps(asdict(last), allow_nan=False)


def test_looking_changes_nothing():
    with_recorder, without = trained(callbacks=[Recorder(*data())]), trained()
    for (name, one), other in zip(with_recorder.state_dict().items(), without.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_snapshots_survive_a_checkpoint():
    recorder = Recorder(*data(), every=4)
    trained(callbacks=[recorder])
    other = Recorder(*data())
    other.load_state_dict(json.loads(json.dumps(recorder.state_dict())))
    assert other.snapshots == recorder.snapshots


def test_activations_are_flattened_in_order_and_counted():
    model, (inputs, labels) = make().eval(), data()
    found = activations(model, DataLoader(TensorDataset(inputs, labels), 10), samples=25)
    assert {name: part.shape for name, part in found.items()} == {"2": (25, 8), "5": (25, 8)}
    torch.testing.assert_close(found["2"], model.backbone[:3](inputs[:25]).detach())
    assert list(activations(model, [(inputs, labels)], 5, at=["0"])) == ["0"]


def test_impossible_recordings_are_refused():
    with pytest.raises(AnalysisError, match="every=0"):
        Recorder(*data(), every=0)
    with pytest.raises(AnalysisError, match="nothing came from"):
        activations(make(), [], samples=4)
