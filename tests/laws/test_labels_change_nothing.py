"""Law 3: labels cannot change a decision."""

from __future__ import annotations

import inspect

import torch
from hypothesis import given
from hypothesis import strategies as st

import offramp as ofr
from offramp.criteria import CRITERIA, Criterion


@given(data=st.data(), seed=st.integers(0, 10**6))
def test_other_labels_change_no_decision(tiny, attached, any_policy, record_on, data, seed):
    recording = record_on(attached, tiny.batch(30, seed))
    policy = data.draw(any_policy(recording))
    generator = torch.Generator().manual_seed(seed)
    decided = []
    for _ in range(2):
        labels = torch.randint(0, recording.classes, (30,), generator=generator)
        labelled = ofr.Recording(recording.logits, labels, recording.macs, recording.head_macs)
        decided.append(ofr.simulate(labelled, policy))
    without = ofr.simulate(recording, policy)
    for other in decided:
        assert torch.equal(other.exits, without.exits)
        assert torch.equal(other.logits, without.logits)
        assert torch.equal(other.macs, without.macs)


def test_no_criterion_can_be_given_a_label():
    for member in [Criterion, *CRITERIA.values()]:
        assert list(inspect.signature(member.score).parameters) == ["self", "logits", "earlier"]
