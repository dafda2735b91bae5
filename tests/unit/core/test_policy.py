"""Policies: what they decide, what they refuse, and their JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import offramp as ofr
from offramp.criteria import Always, Criterion, Entropy, Margin, MaxProbability
from offramp.errors import FileFormatError, PolicyError

INF = float("inf")


def test_a_row_leaves_strictly_above_its_threshold():
    logits = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]).double()
    exactly = float(MaxProbability().score(logits)[1])
    policy = ofr.Policy(MaxProbability(), [exactly])
    assert policy.leaves(0, exactly, logits).tolist() == [False, False, True]


def test_nan_leaves_at_no_threshold():
    logits = torch.tensor([[float("nan"), 0.0], [1.0, 0.0]])
    assert ofr.Policy(Margin(), [-INF]).leaves(0, -INF, logits).tolist() == [False, True]


def test_temperatures_divide_the_logits_that_are_scored():
    logits = torch.tensor([[3.0, 0.0, 1.0]])
    policy = ofr.Policy(MaxProbability(), [0.5, 0.5], [2.0, 0.5])
    torch.testing.assert_close(policy.score(0, logits), MaxProbability().score(logits / 2))
    torch.testing.assert_close(policy.score(1, logits), MaxProbability().score(logits / 0.5))


def test_temperatures_also_divide_the_earlier_logits_each_by_its_own():
    @dataclasses.dataclass(frozen=True)
    class Sum(Criterion):
        uses_earlier = True

        def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
            return sum(earlier, logits).sum(-1)

        def grid(self, classes: int, size: int) -> list[float]:
            return [0.0]

    one = torch.ones(1, 1)
    policy = ofr.Policy(Sum(), [0.0] * 3, [2.0, 4.0, 8.0])
    assert policy.score(2, one, [one, one]).item() == 1 / 8 + 1 / 2 + 1 / 4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_scored_in_single(dtype):
    """In bf16 both softmaxes round to 1, and the surer row could not be told from the other."""
    logits = torch.tensor([[7.0, 0.0], [8.0, 0.0]]).to(dtype)
    score = ofr.Policy(MaxProbability(), [0.5]).score(0, logits)
    assert score.dtype == torch.float32
    assert score[0] < score[1] < 1


def test_double_precision_stays():
    assert ofr.Policy(Margin(), [0.5]).score(0, torch.zeros(1, 3).double()).dtype == torch.float64


def test_always_opens_one_exit_for_any_model():
    assert ofr.always(1).thresholds_for(3) == (INF, -INF, INF)
    assert ofr.always(2).thresholds_for(2) == (INF, INF)
    assert ofr.always(0).heads_needed(3) == (True, False, False)


def test_heads_of_closed_exits_are_not_needed():
    assert ofr.Policy(Margin(), [INF, 0.5, INF]).heads_needed(3) == (False, True, False)


def test_a_criterion_that_reads_earlier_logits_needs_the_heads_before_an_open_exit():
    class Earlier(Margin):
        uses_earlier = True

    assert ofr.Policy(Earlier(), [INF, 0.5, INF]).heads_needed(3) == (True, True, False)
    assert ofr.Policy(Earlier(), [INF, INF]).heads_needed(2) == (False, False)


def test_a_policy_cannot_be_changed():
    policy = ofr.Policy(Margin(), [0.5])
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.thresholds = (0.1,)
    assert policy == ofr.Policy(Margin(), (0.5,))
    assert len({policy, ofr.Policy(Margin(), [0.5]), ofr.Policy(Entropy(), [0.5])}) == 2


@pytest.mark.parametrize("early", [1, 3])
def test_the_wrong_number_of_thresholds(early):
    with pytest.raises(PolicyError, match=rf"2 thresholds \[0\.4, 0\.2\].*has {early} early exits.*one threshold per"):
        ofr.Policy(Margin(), [0.4, 0.2]).thresholds_for(early)


def test_always_beyond_the_last_exit():
    with pytest.raises(PolicyError, match=r"always\(exit=3\).*exits 0 to 2"):
        ofr.always(3).thresholds_for(2)


@pytest.mark.parametrize("exit", [-1, 1.0, True, None, "0"], ids=repr)
def test_always_needs_an_exits_number(exit):
    with pytest.raises(PolicyError, match=r"0 for the earliest") as caught:
        ofr.always(exit)
    assert f"exit={exit!r}" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("margin", [0.5]), r"criterion='margin'.*offramp\.criteria"),
        ((Margin, [0.5]), r"criterion=.*instance"),
        ((Margin(), [0.5, float("nan")]), r"\[0\.5, nan\].*NaN is no threshold.*float\('inf'\)"),
        ((Margin(), 0.5), r"thresholds=0\.5.*list of numbers"),
        ((Margin(), ["much"]), r"thresholds=\['much'\].*list of numbers"),
        ((Margin(), [0.5], [1.0, 2.0]), "1 thresholds and 2 temperatures"),
        ((Margin(), [0.5], [0.0]), r"temperatures=\[0\.0\].*above 0"),
        ((Margin(), [0.5], [-1.0]), r"temperatures=\[-1\.0\].*above 0"),
        ((Margin(), [0.5], [INF]), r"temperatures=\[inf\].*finite"),
        ((Margin(), [0.5], [float("nan")]), r"temperatures=\[nan\]"),
        ((Always(0), [0.5]), r"offramp\.always\(exit=\.\.\.\)"),
    ],
)
def test_malformed(arguments, message):
    with pytest.raises(PolicyError, match=message):
        ofr.Policy(*arguments)


thresholds = st.floats(allow_nan=False)


@given(
    criterion=st.sampled_from([Margin(), Entropy(), MaxProbability()]),
    thresholds=st.lists(thresholds, max_size=4),
    data=st.data(),
)
def test_json_gives_the_same_policy(tmp_path_factory, criterion, thresholds, data):
    positive = st.floats(1e-3, 1e3)
    temperatures = data.draw(st.none() | st.lists(positive, min_size=len(thresholds), max_size=len(thresholds)))
    policy = ofr.Policy(criterion, thresholds, temperatures)
    path = tmp_path_factory.mktemp("policy") / "policy.json"
    policy.save(path)
    assert ofr.Policy.load(path) == policy
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_always_survives_json(tmp_path):
    ofr.always(2).save(tmp_path / "p.json")
    assert ofr.Policy.load(tmp_path / "p.json") == ofr.always(2)


def written(tmp_path: object, **changes: object) -> str:
    data = {**ofr.Policy(Margin(), [0.5]).to_dict(), **changes}
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({k: v for k, v in data.items() if v != "absent"}))
    return path


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"format": "other"}, FileFormatError, r"is no policy"),
        ({"format": "absent"}, FileFormatError, r"is no policy"),
        ({"version": 2}, FileFormatError, r"version 2, this offramp reads version 1.*newer offramp"),
        ({"version": "absent"}, FileFormatError, r"version None"),
        ({"criterion": "absent"}, FileFormatError, r"damaged.*'criterion'"),
        ({"thresholds": "absent"}, FileFormatError, r"damaged.*'thresholds'"),
        ({"criterion": "margin"}, PolicyError, r"Not a criterion: 'margin'"),
        ({"criterion": {"name": "margins"}}, PolicyError, r"no criterion 'margins'.*'margin'"),
        ({"criterion": {}}, PolicyError, r"Not a criterion: \{\}.*Known: .*margin"),
        ({"criterion": {"name": "margin", "power": 2}}, PolicyError, r"Not a criterion.*power"),
        ({"thresholds": None}, PolicyError, r"thresholds=None"),
    ],
)
def test_a_file_that_is_no_policy(tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        ofr.Policy.load(written(tmp_path, **changes))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b'{"format": "offramp.policy", "ver'])
def test_damaged_json(tmp_path, content):
    path = tmp_path / "policy.json"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"policy\.json is damaged"):
        ofr.Policy.load(path)


@pytest.mark.parametrize("content", ["[1, 2]", "3", "null"])
def test_json_of_something_else(tmp_path, content):
    path = tmp_path / "policy.json"
    path.write_text(content)
    with pytest.raises(FileFormatError, match="is no policy"):
        ofr.Policy.load(path)


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(FileFormatError, match=r"no policy at .*nothing\.json.*Policy\.save"):
        ofr.Policy.load(tmp_path / "nothing.json")
    with pytest.raises(FileFormatError, match="damaged"):
        ofr.Policy.load(tmp_path)


def test_an_unwritable_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileFormatError, match=r"cannot be written .*folder you can write to"):
        ofr.Policy(Margin(), [0.5]).save(tmp_path / "file" / "policy.json")


def test_the_largest_threshold_is_finite_in_json_only_as_a_string():
    assert ofr.Policy(Margin(), [INF, -INF, 0.5]).to_dict()["thresholds"] == ["inf", "-inf", 0.5]
    assert math.isinf(ofr.Policy.from_dict(ofr.Policy(Margin(), [INF]).to_dict()).thresholds[0])
