"""`backend="auto"`: the table of measured times, what it chooses, and when it is believed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

import offramp as ofr
from offramp.errors import FileFormatError, InputError
from offramp.runtimes import Tuning, autotuning
from offramp.runtimes.autotuning import ByRows
from offramp.runtimes.tuning import Place

PLACE = Place("cpu somewhere", 1, "2.13", ("first", "output"), "torch.float32", False)
TUNING = Tuning(
    PLACE, (1, 16), {"eager": ((1.0, 9.0), (2.0, 3.0)), "aoti": ((2.0, 8.0), (1.0, 4.0))}, {"openvino": "-"}
)


@pytest.fixture
def model() -> ofr.ExitModel:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    return ofr.attach(backbone, at=["1"], example=torch.zeros(2, 4)).eval()


@pytest.fixture
def policy() -> ofr.Policy:
    return ofr.Policy(ofr.criteria.Margin(), [0.1])


@pytest.fixture
def two_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what builds quickly is tried."""
    monkeypatch.setattr(autotuning, "BACKENDS", ("onnxruntime",))


def test_the_fastest_at_the_nearest_measured_size_is_chosen():
    assert TUNING.fastest(0) == ("eager", "aoti")
    # Between 1 and 16 the middle, by ratio, is 4.
    assert [TUNING.choice(0, rows) for rows in (1, 3, 4, 5, 16, 999)] == [
        "eager",
        "eager",
        "aoti",
        "aoti",
        "aoti",
        "aoti",
    ]
    assert [TUNING.choice(1, rows) for rows in (1, 16)] == ["aoti", "eager"]


def test_backends_that_are_nowhere_fastest_are_not_needed():
    assert TUNING.chosen == ("eager", "aoti")
    slow = replace(TUNING, seconds={**TUNING.seconds, "compile": ((9.0, 9.0), (9.0, 9.0))})
    assert slow.chosen == ("eager", "aoti")


def test_rows_go_to_the_program_for_their_number():
    program = ByRows([4.0], [lambda x: ["few"], lambda x: ["many"]])
    assert [program(torch.zeros(n))[0] for n in (1, 3, 4, 5)] == ["few", "few", "many", "many"]


def test_it_survives_json(tmp_path):
    TUNING.save(tmp_path / "tuning.json")
    assert Tuning.load(tmp_path / "tuning.json") == TUNING


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version"),
        ({"format": "offramp.policy"}, "is no tuning"),
        ({"seconds": {}}, "nothing was measured"),
        ({"seconds": {"eager": [[1.0, 2.0]]}}, "2 segments x 2 batch sizes"),
        ({"batch_sizes": ["one"]}, "damaged"),
        ({"place": {"device": "cpu"}}, "damaged"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path, change, message):
    (tmp_path / "tuning.json").write_text(json.dumps({**TUNING.to_dict(), **change}))
    with pytest.raises(FileFormatError, match=message):
        Tuning.load(tmp_path / "tuning.json")


def test_a_missing_table_and_an_unwritable_place_are_told(tmp_path):
    with pytest.raises(FileFormatError, match=r"There is no tuning|damaged or no tuning"):
        Tuning.load(tmp_path / "none.json")
    with pytest.raises(FileFormatError, match="cannot be written"):
        TUNING.save(tmp_path / "no" / "folder.json")


@pytest.mark.usefixtures("two_backends")
def test_auto_decides_like_the_others_and_tells_what_it_measured(model, policy):
    runtime = ofr.deploy(model, policy, backend="auto", batch_sizes=(4, 1)).staged()
    assert runtime.tuning.batch_sizes == (1, 4)
    assert runtime.tuning.place.segments == ("1", "output")
    assert set(runtime.tuning.seconds) == {"eager", "onnxruntime"}
    assert all(t > 0 for rows in runtime.tuning.seconds.values() for row in rows for t in row)
    x = torch.randn(20, 4)
    assert runtime(x).exits.tolist() == ofr.deploy(model, policy)(x).exits.tolist()


@pytest.mark.usefixtures("two_backends")
def test_what_was_measured_on_such_a_machine_is_not_measured_again(model, policy, monkeypatch):
    tuning = ofr.deploy(model, policy, backend="auto").staged().tuning

    def measured(*_: object) -> None:
        raise AssertionError("it was measured again")

    monkeypatch.setattr(autotuning, "time_programs", measured)
    assert ofr.deploy(model, policy, backend="auto", tuning=tuning).staged().tuning is tuning


@pytest.mark.usefixtures("two_backends")
def test_what_was_measured_elsewhere_is_measured_again_and_said(model, policy):
    tuning = ofr.deploy(model, policy, backend="auto", batch_sizes=[2]).staged().tuning
    elsewhere = replace(tuning, place=replace(tuning.place, threads=99))
    with pytest.warns(UserWarning, match="threads .* instead of 99"):
        again = ofr.deploy(model, policy, backend="auto", batch_sizes=[2], tuning=elsewhere).staged().tuning
    assert again.place == tuning.place


@pytest.mark.usefixtures("two_backends")
def test_a_backend_that_is_gone_is_measured_without(model, policy):
    tuning = ofr.deploy(model, policy, backend="auto", batch_sizes=[2]).staged().tuning
    gone = replace(tuning, seconds={"tensorrt": ((0.0,), (0.0,)), **tuning.seconds})
    with pytest.warns(UserWarning, match="tensorrt"):
        again = ofr.deploy(model, policy, backend="auto", batch_sizes=[2], tuning=gone).staged().tuning
    assert set(again.seconds) == {"eager", "onnxruntime"}


def test_batch_sizes_below_one_are_refused(model, policy):
    with pytest.raises(InputError, match="1 or more"):
        ofr.deploy(model, policy, backend="auto", batch_sizes=[0])
