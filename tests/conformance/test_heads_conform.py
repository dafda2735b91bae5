"""Every registered head passes the kit; a new file is tested by existing."""

from __future__ import annotations

from typing import Self

import pytest
import torch
from torch import Tensor, nn

from offramp.heads import HEADS, ExitHead, PooledLinear
from offramp.testing import HEAD_CHECKS, check_head


@pytest.mark.parametrize("check", HEAD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", HEADS)
def test_conforms(name, check):
    check(HEADS[name])


def broken(forward: object) -> type[ExitHead]:
    return type("Broken", (PooledLinear,), {"forward": forward})


def good(self: PooledLinear, features: Tensor) -> Tensor:
    return PooledLinear.forward(self, features)


@pytest.mark.parametrize(
    ("check", "forward"),
    [
        ("head_gives_logits", lambda self, x: good(self, x)[:, :2]),
        ("head_gives_logits", lambda self, x: good(self, x).float()),
        ("head_stays_on_the_device", lambda self, x: good(self, x) + torch.zeros(6, 3)),
        ("head_treats_rows_apart", lambda self, x: good(self, x.mul_(2.0))),
        ("head_treats_rows_apart", lambda self, x: good(self, x - x.mean(0))),
        ("head_treats_rows_apart", lambda self, x: good(self, x.nan_to_num(0.0))),
        ("head_is_reproducible", lambda self, x: good(self, x) + torch.rand(())),
        ("head_can_be_trained", lambda self, x: good(self, x.detach())),
        ("head_can_be_exported", lambda self, x: torch.cat([good(self, row[None]) for row in x])),
    ],
)
def test_the_kit_finds_a_forward_that_is_wrong(check, forward):
    """So that the tests above cannot be hollow."""
    found = {c.__name__: c for c in HEAD_CHECKS}[check]
    found(PooledLinear)
    with pytest.raises((AssertionError, RuntimeError)):
        found(broken(forward))


def test_the_kit_finds_a_parameter_that_is_not_used():
    class Idle(PooledLinear):
        def __init__(self, width: int, classes: int) -> None:
            super().__init__(width, classes)
            self.idle = nn.Parameter(torch.zeros(2))

    with pytest.raises(AssertionError, match="idle"):
        check_head(Idle)


def test_the_kit_finds_weights_outside_the_state_dict():
    class Hidden(PooledLinear):
        def __init__(self, width: int, classes: int) -> None:
            super().__init__(width, classes)
            self.hidden = [torch.rand(())]

        def forward(self, features: Tensor) -> Tensor:
            return super().forward(features) + self.hidden[0].to(features)

    with pytest.raises(AssertionError, match="state_dict"):
        check_head(Hidden)


def test_the_kit_finds_a_crash_where_a_refusal_is_due():
    class Crashing(PooledLinear):
        @classmethod
        def for_features(cls, features: Tensor, classes: int) -> Self:
            return cls(features.shape[1], classes)

    with pytest.raises(IndexError):
        check_head(Crashing)
