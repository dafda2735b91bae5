from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_problem import TinyExits, Trapped, interrupt, train_loader, val_loader
from torch import nn
from torch.utils.data import DataLoader

import offramp as ofr
from offramp.errors import FileFormatError, TrainingError
from offramp.training import checkpoint as checkpoints

EPOCHS, BATCHES = 3, 6
SCRIPT = Path(__file__).parent / "launch_killed_run.py"


def run(out: Path | None, train: Any = None, resume: bool = False, seed: int = 0, **options: Any):
    model = options.pop("model", None) or TinyExits(seed)
    arguments = {"epochs": EPOCHS, "val": val_loader(), "seed": 3, **options}
    history = ofr.fit(model, train or train_loader(), out=out, resume=resume, device="cpu", progress=False, **arguments)
    return model, history


def again(out: Path, **change: Any) -> None:
    options = {"seed": 3, "epochs": EPOCHS, "val": val_loader(), "train_loader": train_loader(), **change}
    ofr.fit(TinyExits(), out=out, resume=True, device="cpu", progress=False, **options)


def same_bits(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def interrupted_at(out: Path, epoch: int, batch: int, **options: Any) -> pytest.ExceptionInfo[KeyboardInterrupt]:
    with pytest.raises(KeyboardInterrupt) as caught:
        run(out, Trapped(train_loader(), epoch, batch, interrupt), **options)
    return caught


@settings(max_examples=8, deadline=None)
@given(st.integers(1, EPOCHS), st.integers(1, BATCHES), st.sampled_from(["sgd", "adamw"]))
def test_an_interrupted_run_resumes_to_the_same_bits(epoch: int, batch: int, optimizer: str):
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        interrupted_at(out, epoch, batch, optimizer=optimizer)
        # Another initialisation: a resumed run must start from the weights on disk.
        resumed, history = run(out, resume=True, seed=9, optimizer=optimizer)
    whole, expected = run(None, optimizer=optimizer)
    assert history == expected
    assert same_bits(resumed, whole)


def test_a_run_interrupted_twice_resumes_to_the_same_bits(tmp_path: Path):
    interrupted_at(tmp_path, 2, 3)
    # The second call begins with epoch 2, so this is its first.
    interrupted_at(tmp_path, 1, 5, resume=True)
    resumed, history = run(tmp_path, resume=True)
    whole, expected = run(None)
    assert history == expected
    assert same_bits(resumed, whole)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bits(tmp_path: Path):
    command = [sys.executable, str(SCRIPT), str(tmp_path)]
    killed = subprocess.run(command, check=False, capture_output=True, timeout=120)
    assert killed.returncode == -9, killed.stderr.decode()
    logged = ofr.History.load(tmp_path / "history.json")
    assert (logged.stopped, len(logged.rows)) == ("running", 1)
    resumed, history = run(tmp_path, resume=True)
    whole, expected = run(None)
    assert len(history.rows) == EPOCHS
    assert history == expected
    assert same_bits(resumed, whole)


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_generators_and_workers_resume_too(tmp_path: Path, workers: int):
    def loader(generator_seed: int) -> DataLoader[Any]:
        return train_loader(generator=torch.Generator().manual_seed(generator_seed), num_workers=workers)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Trapped(loader(1), 2, 2, interrupt))
    resumed, history = run(tmp_path, loader(2), resume=True)
    whole, expected = run(None, loader(3))
    assert history == expected
    assert same_bits(resumed, whole)


def test_patience_is_counted_across_a_resume(tmp_path: Path):
    options = {"epochs": 12, "patience": 2, "lr": 0.8, "schedule": "constant"}
    expected = run(None, **options)[1]
    assert expected.stopped == "patience"
    interrupted_at(tmp_path, len(expected.rows), 1, **options)
    assert run(tmp_path, resume=True, **options)[1] == expected


def test_channels_last_momentum_survives_the_disk(tmp_path: Path):
    generator = torch.Generator().manual_seed(0)
    batches = [(torch.randn(4, 3, 6, 6, generator=generator), torch.arange(4)) for _ in range(3)]

    class Convolution(nn.Module):
        exits = 1

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.convolution = nn.Conv2d(3, 4, 3)

        def forward(self, inputs: torch.Tensor) -> list[torch.Tensor]:
            return [self.convolution(inputs).mean((2, 3))]

    class Once(list):  # type: ignore[type-arg]
        begun = 0

        def __iter__(self):
            self.begun += 1
            if self.begun == 2:
                raise KeyboardInterrupt
            return super().__iter__()

    options = {"val": None, "channels_last": True}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Once(batches), model=Convolution(), **options)
    resumed, _ = run(tmp_path, batches, resume=True, model=Convolution(), **options)
    assert same_bits(resumed, run(None, batches, model=Convolution(), **options)[0])


def test_the_interruption_says_how_to_continue(tmp_path: Path):
    caught = interrupted_at(tmp_path, 2, 1)
    (note,) = caught.value.__notes__
    assert "after 1 epochs" in note
    assert f"out={str(tmp_path)!r}, resume=True" in note
    logged = ofr.History.load(tmp_path / "history.json")
    assert (logged.stopped, len(logged.rows)) == ("interrupted", 1)


def test_without_a_folder_the_interruption_says_what_was_missing():
    with pytest.raises(KeyboardInterrupt) as caught:
        run(None, Trapped(train_loader(), 1, 1, interrupt))
    assert "out=FOLDER" in caught.value.__notes__[0]


def test_an_interrupted_model_is_left_in_evaluation_mode(tmp_path: Path):
    model = TinyExits()
    interrupted_at(tmp_path, 1, 2, model=model)
    assert not model.training


def test_a_finished_run_is_not_trained_again(tmp_path: Path):
    model, history = run(tmp_path)
    again, same = run(tmp_path, resume=True, seed=9)
    assert same == history
    assert same.seconds == history.seconds
    assert same_bits(again, model)


def test_nothing_is_overwritten_without_resume(tmp_path: Path):
    run(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(TrainingError, match=r"checkpoint.pt holds a run already.*resume=True.*another out folder"):
        run(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_resume_without_a_checkpoint_starts_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    ofr.fit(TinyExits(), train_loader(), out=tmp_path / "new", resume=True, epochs=1, device="cpu")
    assert "There is no checkpoint in" in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "new" / "checkpoint.pt").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.2}, "lr is 0.1 in the checkpoint and 0.2 now"),
        ({"seed": 4}, "seed is 3 in the checkpoint and 4 now"),
        ({"epochs": 5}, "epochs is 3 in the checkpoint and 5 now"),
        ({"schedule": "step"}, "schedule is cosine in the checkpoint and step now"),
        ({"optimizer": "adamw"}, r"optimizer.class is SGD in the checkpoint and AdamW now"),
        ({"momentum": 0.5}, r"optimizer.groups is .*'momentum': 0.9.*'momentum': 0.5"),
        ({"regime": ofr.regimes.Joint("depth")}, r"regime.weights is mean in the checkpoint and depth now"),
        ({"val": None}, r"val is .* in the checkpoint and None now"),
        ({"train_loader": train_loader(batch_size=8)}, r"train_loader.batches is 6 in the checkpoint and 12 now"),
        ({"precision": "bf16"}, "precision is fp32 in the checkpoint and bf16 now"),
    ],
)
def test_another_configuration_is_refused_by_name(tmp_path: Path, change: dict[str, Any], message: str):
    run(tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(TrainingError, match=message):
        again(tmp_path, **change)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_another_model_is_refused_by_name(tmp_path: Path):
    run(tmp_path)
    with pytest.raises(TrainingError, match=r"model.first.0.weight is \[12, 8\] in the checkpoint and \[14, 8\] now"):
        run(tmp_path, resume=True, model=TinyExits(width=14))


def test_other_cuts_are_refused_by_name(tmp_path: Path):
    run(tmp_path)
    model = TinyExits()
    model.cuts = ("first", "heads")  # type: ignore[assignment]
    with pytest.raises(TrainingError, match=r"cuts is \['first', 'second'\] in the checkpoint"):
        run(tmp_path, resume=True, model=model)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 truncated"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"checkpoint.pt is damaged or no training checkpoint"):
        run(tmp_path, resume=True)


def test_a_truncated_checkpoint_is_refused(tmp_path: Path):
    run(tmp_path, epochs=1)
    file = tmp_path / "checkpoint.pt"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(FileFormatError, match="damaged"):
        run(tmp_path, resume=True, epochs=1)


def test_someone_elses_file_is_refused(tmp_path: Path):
    torch.save({"weights": torch.zeros(2)}, tmp_path / "checkpoint.pt")
    with pytest.raises(FileFormatError, match="is no training checkpoint"):
        run(tmp_path, resume=True)


def test_a_kill_while_writing_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written = 0

    def half(payload: object, file: Any) -> None:
        nonlocal written
        written += 1
        if written == 3:
            file.write(b"half a file")
            raise KeyboardInterrupt
        saved(payload, file)

    saved = checkpoints.torch.save
    monkeypatch.setattr(checkpoints.torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    resumed, history = run(tmp_path, resume=True)
    whole, expected = run(None)
    assert history == expected
    assert same_bits(resumed, whole)
