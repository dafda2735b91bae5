"""Decisions: shares, costs and accuracy worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

import offramp as ofr

LOGITS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [3.0, 1.0]])


def decided(**changes: object) -> ofr.Decisions:
    return ofr.Decisions(**{"logits": LOGITS, "exits": torch.tensor([0, 2, 0, 2]), "exit_count": 4, **changes})


def test_an_exit_that_nobody_took_has_a_share_of_zero():
    assert decided().shares.tolist() == [0.5, 0.0, 0.5, 0.0]
    assert len(decided()) == 4


def test_predictions_and_accuracy():
    assert decided().predictions.tolist() == [0, 1, 0, 0]
    assert decided().accuracy(torch.tensor([0, 1, 1, 0])) == 0.75


def test_the_mean_cost():
    assert decided(macs=torch.tensor([1.0, 5.0, 1.0, 5.0]).double()).mean_macs == 3.0
    assert math.isnan(decided().mean_macs)


def test_they_cannot_be_changed():
    with pytest.raises(AttributeError):
        decided().exit_count = 2
