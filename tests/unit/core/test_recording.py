"""Recordings: what is refused, what simulating gives, and the file."""

from __future__ import annotations

import json

import pytest
import safetensors.torch
import torch

import offramp as ofr
from offramp.criteria import Margin
from offramp.errors import FileFormatError, PolicyError, RecordingError
from offramp.recording import unpack

INF = float("inf")
LOGITS = torch.randn(3, 8, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 5


def recording(**changes: object) -> ofr.Recording:
    return ofr.Recording(**{"logits": LOGITS, "labels": LABELS, "macs": [10, 30, 70], **changes})


def spoiled(value: float) -> torch.Tensor:
    logits = LOGITS.clone()
    logits[1, 3, 2] = value
    return logits


def test_what_it_says_about_itself():
    r = recording(head_macs=[1, 2])
    assert (r.exits, r.samples, r.classes, r.plain_macs) == (3, 8, 5, 67.0)
    assert recording().head_macs == (0.0, 0.0)
    assert torch.equal(r.predictions, LOGITS.argmax(-1))


@pytest.mark.parametrize("value", [float("nan"), INF, -INF])
def test_logits_that_are_not_finite(value):
    with pytest.raises(RecordingError, match=rf"1 values.*the first is {value} at exit 1, sample 3.*diverged"):
        recording(logits=spoiled(value))


@pytest.mark.parametrize("shape", [(8, 5), (3, 0, 5), (0, 8, 5), (3, 8, 0), (1, 3, 8, 5)])
def test_logits_of_another_shape(shape):
    with pytest.raises(RecordingError, match=r"\[exits, n, classes\]") as caught:
        recording(logits=torch.zeros(shape))
    assert str(list(shape)) in str(caught.value)


@pytest.mark.parametrize(("label", "row"), [(5, 2), (-1, 6)])
def test_labels_out_of_range(label, row):
    labels = LABELS.clone()
    labels[row] = label
    with pytest.raises(RecordingError, match=rf"Label {label} of sample {row} is out of range.*0 to 4.*\(1 samples"):
        recording(labels=labels)


@pytest.mark.parametrize("labels", [LABELS[:7], LABELS.float(), torch.zeros(8, 5).long(), LABELS.unsqueeze(1)])
def test_labels_that_are_no_class_indices(labels):
    with pytest.raises(RecordingError, match="8 class indices, one per sample") as caught:
        recording(labels=labels)
    assert str(list(labels.shape)) in str(caught.value)


@pytest.mark.parametrize("macs", [[10, 30], [10, 30, 70, 80]])
def test_the_wrong_number_of_costs(macs):
    with pytest.raises(RecordingError, match=rf"{len(macs)} costs for 3 exits; give one per exit"):
        recording(macs=macs)


@pytest.mark.parametrize("macs", [[30, 10, 70], [0, 1, 2], [-1, 1, 2], [1, 2, INF], [1, float("nan"), 2]])
def test_costs_that_are_not_cumulative(macs):
    with pytest.raises(RecordingError, match="cumulative: positive, finite, never falling"):
        recording(macs=macs)


@pytest.mark.parametrize("head_macs", [[1], [1, 2, 3], [1, -2], [1, INF], [1, float("nan")]])
def test_costs_of_heads(head_macs):
    with pytest.raises(RecordingError, match=r"one cost of at least 0 per early exit \(2\)"):
        recording(head_macs=head_macs)


def test_labels_that_are_needed():
    assert torch.equal(recording().required_labels, LABELS)
    with pytest.raises(RecordingError, match="record a labelled split"):
        _ = recording(labels=None).required_labels


def test_lists_and_half_precision_become_tensors_in_single():
    assert recording(logits=LOGITS.half()).logits.dtype == torch.float32
    assert recording(logits=LOGITS.double()).logits.dtype == torch.float64
    assert ofr.Recording([[[2, 0]], [[0, 1]]], [1], [10, 30]).logits.dtype == torch.float32


def test_taking_and_splitting_keep_rows_together():
    r = recording(meta={"split": "calibration"})
    taken = r.take(torch.tensor([6, 1]))
    assert torch.equal(taken.logits, LOGITS[:, [6, 1]])
    assert taken.labels.tolist() == [1, 1]
    assert taken.meta == r.meta
    first, second = r.split(0.25, seed=3)
    assert (first.samples, second.samples) == (2, 6)
    rows = torch.cat([first.logits, second.logits], dim=1).transpose(0, 1).flatten(1)
    assert {tuple(row.tolist()) for row in rows} == {tuple(row.tolist()) for row in LOGITS.transpose(0, 1).flatten(1)}
    assert torch.equal(r.split(0.25, seed=3)[0].logits, first.logits)
    assert not torch.equal(r.split(0.25, seed=4)[0].logits, first.logits)


@pytest.mark.parametrize("share", [0.0, 0.01, 1.0, -1.0])
def test_a_split_with_an_empty_part(share):
    with pytest.raises(RecordingError, match=rf"split\({share}\) of 8 samples leaves one part empty"):
        recording().split(share)


def test_simulating_by_hand():
    """Margins of the three samples: .9 and .1 at exit 0, .5 twice at exit 1."""
    logits = torch.log(torch.tensor([[[0.95, 0.05], [0.55, 0.45]], [[0.75, 0.25], [0.25, 0.75]], [[0.6, 0.4]] * 2]))
    r = ofr.Recording(logits, [0, 1], macs=[10, 30, 70], head_macs=[1, 2])
    d = ofr.simulate(r, ofr.Policy(Margin(), [0.8, 0.4]))
    assert d.exits.tolist() == [0, 1]
    assert d.macs.tolist() == [10, 30]
    assert torch.equal(d.logits, torch.stack([logits[0, 0], logits[1, 1]]))
    assert d.accuracy(r.labels) == 1.0
    closed = ofr.simulate(r, ofr.Policy(Margin(), [INF, 0.4]))
    assert closed.exits.tolist() == [1, 1]
    assert closed.macs.tolist() == [29, 29]
    assert ofr.simulate(r, ofr.Policy(Margin(), [INF, INF])).macs.tolist() == [67, 67]


def test_simulating_with_the_wrong_number_of_thresholds():
    with pytest.raises(PolicyError, match=r"3 thresholds .*has 2 early exits"):
        ofr.simulate(recording(), ofr.Policy(Margin(), [0.1, 0.2, 0.3]))


def test_record_runs_every_batch_in_order_and_restores_the_mode(tiny_mlp):
    model = tiny_mlp.attach().train()
    model.backbone[0].eval()
    flags = [m.training for m in model.modules()]
    batches = [(tiny_mlp.batch(n, seed=n), torch.zeros(n).long()) for n in (3, 1, 4)]
    r = ofr.record(model, batches, meta={"split": "test"})
    assert [m.training for m in model.modules()] == flags
    with model.evaluating(), torch.no_grad():
        expected = torch.stack(model(torch.cat([x for x, _ in batches])))
    torch.testing.assert_close(r.logits, expected)
    assert not r.logits.requires_grad
    assert (r.macs, r.head_macs) == (model.cost.macs, model.cost.head_macs)
    assert r.meta == {"device": "cpu", "split": "test"}


def test_record_without_labels(tiny_mlp):
    assert ofr.record(tiny_mlp.attach(), [tiny_mlp.batch(3), tiny_mlp.batch(2)]).labels is None


def test_an_empty_loader(tiny_mlp):
    with pytest.raises(RecordingError, match=r"the loader is empty.*drop_last"):
        ofr.record(tiny_mlp.attach(), [])


def test_a_model_that_has_diverged(tiny_mlp):
    model = tiny_mlp.attach()
    with torch.no_grad():
        model.heads[1].linear.bias[0] = float("nan")
    with pytest.raises(RecordingError, match="4 values that are not finite; the first is nan at exit 1, sample 0"):
        ofr.record(model, [tiny_mlp.batch(4)])


def test_labels_of_the_loader_are_checked(tiny_mlp):
    with pytest.raises(RecordingError, match="Label 4 of sample 1 is out of range"):
        ofr.record(tiny_mlp.attach(), [(tiny_mlp.batch(2), torch.tensor([0, 4]))])


def test_what_a_loaders_batch_may_be():
    x, y, labels = torch.zeros(2), torch.ones(2), torch.arange(2)
    assert unpack(x) == (x, None)
    assert unpack((x, labels)) == (x, labels)
    assert unpack([x, y, labels]) == ((x, y), labels)
    assert unpack({"x": x, "labels": labels}) == ({"x": x}, labels)
    assert unpack({"x": x, "label": labels}) == ({"x": x}, labels)
    assert unpack({"x": x}) == ({"x": x}, None)


@pytest.mark.parametrize("batch", [(torch.zeros(2),), 3, "text", None], ids=repr)
def test_a_batch_that_is_not_understood(batch):
    with pytest.raises(RecordingError, match=rf"\(inputs, labels\).*got {type(batch).__name__}"):
        unpack(batch)


@pytest.mark.parametrize("labels", [LABELS, None])
def test_the_file_gives_the_same_recording(tmp_path, labels):
    r = recording(labels=labels, head_macs=[1, 2], meta={"split": "calibration", "seeds": [1, 2]})
    r.save(tmp_path / "r.safetensors")
    again = ofr.Recording.load(tmp_path / "r.safetensors")
    assert torch.equal(again.logits, r.logits)
    assert (again.macs, again.head_macs, again.meta) == (r.macs, r.head_macs, r.meta)
    assert again.labels is None if labels is None else torch.equal(again.labels, labels)


def header(tmp_path: object, content: str, **tensors: torch.Tensor) -> str:
    path = tmp_path / "r.safetensors"
    safetensors.torch.save_file(tensors or {"logits": LOGITS}, path, metadata={"offramp": content})
    return path


FIELDS = {"format": "offramp.recording", "version": 1, "macs": [1, 2, 3], "head_macs": [0, 0], "meta": {}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps({**FIELDS, "version": 2}), r"format version 2, this offramp reads version 1.*newer offramp"),
        (json.dumps({**FIELDS, "format": "offramp.policy"}), "is no recording"),
        ("[1, 2]", "is no recording"),
        ("{", "damaged"),
        (json.dumps({k: v for k, v in FIELDS.items() if k != "macs"}), "damaged or no recording .*'macs'"),
    ],
)
def test_a_header_that_is_no_recordings(tmp_path, content, message):
    with pytest.raises(FileFormatError, match=message):
        ofr.Recording.load(header(tmp_path, content))


def test_a_file_without_logits(tmp_path):
    with pytest.raises(FileFormatError, match=r"damaged or no recording .*'logits'"):
        ofr.Recording.load(header(tmp_path, json.dumps(FIELDS), labels=LABELS))


def test_a_file_of_another_program(tmp_path):
    safetensors.torch.save_file({"weight": LOGITS}, tmp_path / "w.safetensors")
    with pytest.raises(FileFormatError, match="is no recording"):
        ofr.Recording.load(tmp_path / "w.safetensors")


@pytest.mark.parametrize("size", [0, 5, 60, -1])
def test_a_truncated_file(tmp_path, size):
    path = tmp_path / "r.safetensors"
    recording().save(path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(FileFormatError, match=r"r\.safetensors is damaged"):
        ofr.Recording.load(path)


def test_no_file(tmp_path):
    with pytest.raises(FileFormatError, match=r"no recording .*Recording\.save"):
        ofr.Recording.load(tmp_path / "nothing")


def test_an_unwritable_place_and_meta_that_is_no_data(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileFormatError, match=r"cannot be written to .*folder you can write to"):
        recording().save(tmp_path / "file" / "r.safetensors")
    with pytest.raises(FileFormatError, match=r"Tensor is not JSON.*meta"):
        recording(meta={"mean": torch.zeros(1)}).save(tmp_path / "r.safetensors")
