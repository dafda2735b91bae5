"""Hierarchies: how they are made, what they refuse, and what decisions under them are worth."""

from __future__ import annotations

import importlib

import pytest
import torch

import offramp as ofr
from offramp.criteria import Margin, MinimumDepth
from offramp.errors import HierarchyError, MissingExtraError

INF = float("inf")
PARENTS = {"cat": "pet", "dog": "pet", "cow": "farm", "car": "vehicle", "pet": "animal", "farm": "animal"}
CLASSES = ["cat", "car", "dog", "cow"]


def test_classes_with_fewer_groups_above_them_repeat_the_nearest():
    found = ofr.Hierarchy.of(PARENTS, CLASSES)
    assert found.names == (("pet", "vehicle", "farm"), ("animal", "vehicle"))
    assert found.groups == ((0, 1, 0, 2), (0, 1, 0, 0))


def test_a_single_root_says_nothing_and_is_left_out():
    rooted = {**PARENTS, "animal": "thing", "vehicle": "thing"}
    assert ofr.Hierarchy.of(rooted, CLASSES).names[-1] == ("animal", "vehicle")


@pytest.mark.parametrize(
    ("parents", "message"),
    [
        ({k: v for k, v in PARENTS.items() if k != "dog"}, r"no group to 1 of 4 classes: \['dog'\].*Closest"),
        ({**PARENTS, "animal": "pet"}, r"circle: pet -> animal -> pet"),
        ({**PARENTS, "car": "car"}, r"circle: car -> car"),
        (dict.fromkeys(CLASSES, "thing"), "all classes into one group"),
    ],
)
def test_what_is_no_hierarchy(parents, message):
    with pytest.raises(HierarchyError, match=message):
        ofr.Hierarchy.of(parents, CLASSES)


@pytest.mark.parametrize("classes", [[], ["cat", "cat", "dog"]])
def test_every_class_has_one_name(classes):
    with pytest.raises(HierarchyError, match="the name of every class once"):
        ofr.Hierarchy.of(PARENTS, classes)


def confused(rows: int = 600) -> ofr.Recording:
    """The first exit tells {0, 1}, {2, 3} and {4, 5} apart and guesses inside, the last one knows."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(6, (rows,), generator=generator)
    pairs = torch.eye(3).repeat_interleave(2, dim=0).repeat_interleave(2, dim=1)
    first = 5 * pairs[labels] + torch.randn(rows, 6, generator=generator)
    last = 6 * torch.eye(6)[labels] + torch.randn(rows, 6, generator=generator)
    return ofr.Recording(torch.stack([first, last]), labels, [1, 10])


def test_confusions_find_the_pairs():
    pytest.importorskip("scipy")
    found = ofr.Hierarchy.from_confusion(confused(), [3, 2], classes=list("abcdef"))
    assert found.names[0] == ("a+b", "c+d", "e+f")
    assert found.groups[0] == (0, 0, 1, 1, 2, 2)
    assert len(found.names[1]) == 2


def test_without_labels_the_last_exit_is_the_truth():
    pytest.importorskip("scipy")
    unlabelled = ofr.Recording(confused().logits, None, [1, 10])
    assert ofr.Hierarchy.from_confusion(unlabelled, [3]).groups == ((0, 0, 1, 1, 2, 2),)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), r"Groups of \[\].*fall from below 6 to 2"),
        (([6],), "fall from below 6"),
        (([3, 3],), "fall from below 6"),
        (([1],), "to 2 at least"),
        (([3], 2), "exits 0 to 1"),
        (([3], 0, ["a"]), "1 names for 6 classes"),
    ],
)
def test_impossible_groups(arguments, message):
    with pytest.raises(HierarchyError, match=message):
        ofr.Hierarchy.from_confusion(confused(), *arguments)


def test_the_test_split_chooses_no_groups():
    test = ofr.Recording(confused().logits, None, [1, 10], meta={"split": "test"})
    with pytest.raises(HierarchyError, match="split 'test'"):
        ofr.Hierarchy.from_confusion(test, [3])


def test_scipy_is_asked_for_by_its_extra(monkeypatch):
    find = importlib.import_module

    def missing(name: str) -> object:
        if name.startswith("scipy"):
            raise ImportError(f"No module named {name!r}")
        return find(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'offramp\[hierarchy\]'"):
        ofr.Hierarchy.from_confusion(confused(), [3])


@pytest.fixture
def hierarchy() -> ofr.Hierarchy:
    parents = {"a": "ab", "b": "ab", "c": "cd", "d": "cd", "e": "ef", "f": "ef"}
    return ofr.Hierarchy.of(parents, list("abcdef"))


def test_early_exits_answer_coarsely_and_the_last_one_with_classes(hierarchy):
    recording = confused()
    early = ofr.simulate(recording, ofr.Policy(hierarchy.criterion(), [0.9]))
    plain = ofr.simulate(recording, ofr.Policy(ofr.criteria.MaxProbability(), [0.9]))
    assert float(early.shares[0]) > 0.9 > float(plain.shares[0])
    fine, coarse = hierarchy.accuracy(early, recording.labels)
    assert fine.rows + coarse.rows == recording.samples
    assert coarse.rows > 300
    assert coarse.accuracy > 0.98
    by_class = (early.predictions == recording.labels)[early.levels == 1]
    assert float(by_class.double().mean()) < 0.7  # its class would often be wrong: the level matters
    assert early.levels[early.exits == 1].unique().tolist() == [0]


def test_the_names_of_answers(hierarchy):
    recording = confused(12)
    decisions = ofr.simulate(recording, ofr.Policy(hierarchy.criterion(), [0.9]))
    for name, level in zip(hierarchy.answers(decisions), decisions.levels.tolist(), strict=True):
        assert len(name) == 1 + level


def test_levels_nobody_is_answered_at_have_no_accuracy(hierarchy):
    recording = confused(20)
    fine, coarse = hierarchy.accuracy(
        ofr.simulate(recording, ofr.Policy(hierarchy.criterion(), [INF])), recording.labels
    )
    assert (fine.rows, coarse.rows, coarse.accuracy) == (20, 0, None)


def test_decisions_without_levels(hierarchy):
    decisions = ofr.simulate(confused(20), ofr.Policy(Margin(), [0.5]))
    assert decisions.levels is None
    with pytest.raises(HierarchyError, match=r"hierarchy\.criterion\(\)"):
        hierarchy.answers(decisions)


def test_levels_come_through_what_is_built_around_the_criterion(hierarchy):
    policy = ofr.Policy(MinimumDepth(hierarchy.criterion(), 0), [0.9])
    assert torch.equal(
        ofr.simulate(confused(), policy).levels,
        ofr.simulate(confused(), ofr.Policy(hierarchy.criterion(), [0.9])).levels,
    )


def test_streams_and_segments_carry_the_level(tiny_mlp):
    model = tiny_mlp.attach()
    inputs = tiny_mlp.batch(40)
    criterion = ofr.criteria.Coarse(((0, 0, 1, 1),))
    with torch.no_grad():
        first = criterion.score(model(inputs)[0]).median()
    runtime = ofr.deploy(model, ofr.Policy(criterion, [float(first) + 1e-4, 0.9]))
    expected = runtime(inputs)
    assert len(expected.levels.unique()) == 2
    assert torch.equal(runtime.staged()(inputs).levels, expected.levels)
    streamed = list(runtime.stream([inputs[i : i + 7] for i in range(0, 40, 7)], target=8))
    assert torch.equal(torch.cat([d.levels for d in streamed]), expected.levels)
