"""How what crosses a cut is classified at two batch sizes, and how it follows when rows leave."""

from __future__ import annotations

import pytest
import torch

from offramp.backbones.carry import Carry, Constant, Count, Rows, Shape, check_feature, classify, kept
from offramp.errors import CutError

SIZES = (4, 7)
KEEP = torch.tensor([2, 0])


def seen(make: object) -> tuple[object, object]:
    return tuple(make(n) for n in SIZES)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda n: torch.arange(n * 3).view(n, 3), Rows()),
        (lambda n: torch.arange(n), Rows()),
        (lambda n: torch.ones(5, 2), Constant()),
        (lambda n: 3, Constant()),
        (lambda n: 0.5, Constant()),
        (lambda n: None, Constant()),
        (lambda n: True, Constant()),
        (lambda n: n, Count(1)),
        (lambda n: 6 * n, Count(6)),
        (lambda n: torch.Size((n, 3, 2 * n)), Shape((Count(1), Constant(), Count(2)))),
    ],
)
def test_kinds(make, kind):
    assert classify("value", *seen(make), SIZES) == kind


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda n: torch.zeros(3, n), r"'value'.*batch in dimension 1 .*\[3, 4\]"),
        (lambda n: torch.zeros(n * 5, 2), r"'value'.*merges the batch.*\[20, 2\]"),
        (lambda n: torch.zeros(n, n), r"'value'.*\[4, 4\] to \[7, 7\]"),
        (lambda n: torch.zeros(*[2] * n), "'value'.*changes from"),
        (lambda n: torch.full((3,), float(n)), "'value'.*whole batch but has no batch dimension"),
        (lambda n: n + 1, "'value' .* is 5 for 4 rows and 8 for 7"),
        (lambda n: n / 2, r"'value'.*unknown way \(2\.0, then 3\.5\)"),
        (lambda n: n > 5, "'value'.*unknown way"),
    ],
)
def test_refusals_name_the_value_and_what_it_was(make, reason):
    with pytest.raises(CutError, match=reason):
        classify("value", *seen(make), SIZES)


def test_rows_leave_and_what_derives_from_them_is_recomputed():
    values = [
        lambda n: torch.arange(n * 2).view(n, 2),
        lambda n: 6 * n,
        lambda n: torch.Size((n, 2)),
        lambda n: "label",
    ]
    small, large = ([make(n) for make in values] for n in SIZES)
    carry = Carry.of(["x", "count", "shape", "text"], small, large, SIZES)
    rows, count, shape, text = carry.keep(large, KEEP)
    assert rows.tolist() == [[4, 5], [0, 1]]
    assert (count, shape, text) == (12, torch.Size((2, 2)), "label")
    assert (carry.tensors, carry.bytes_per_row) == (1, 16)


def test_a_tuple_keeps_its_structure():
    small, large = seen(lambda n: (torch.arange(n), {"sizes": [n, 3]}))
    carry = Carry.of(["state"], [small], [large], SIZES)
    (rows, rest), *_ = carry.keep([large], KEEP)
    assert rows.tolist() == [2, 0]
    assert rest == {"sizes": [2, 3]}


def test_a_structure_that_follows_the_batch_is_refused():
    small, large = seen(lambda n: [torch.zeros(2)] * n)
    with pytest.raises(CutError, match=r"'parts'.*structure"):
        Carry.of(["parts"], [small], [large], SIZES)


def test_channels_last_stays():
    images = torch.zeros(7, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    rows = kept(Rows(), images, KEEP)
    assert rows.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda n: None, "no tensor"),
        (lambda n: torch.ones(3, 2), r"\[3, 2\].*same for every batch"),
        (lambda n: torch.zeros(3, n), "batch in dimension 1"),
    ],
)
def test_a_feature_must_have_rows(make, reason):
    with pytest.raises(CutError, match=reason):
        check_feature("cut", *seen(make), SIZES)
