"""Recordings of real networks on real held-out data, to draw calibration sets from.

    python benchmarks/populations.py [--runs RUN ...] [--mlbench FOLDER]

Each stands for a distribution: n samples drawn with replacement are independent, and what a policy truly does is what
it does on the whole recording. Recordings are kept in `runs/populations`; what is there is not made again.

- `--runs`: folders of `offramp demo` or `offramp train`; their validation and calibration recordings are put together.
- always: a perceptron on Fashion-MNIST's pixels; held out are 10,000 images of the training part and the test part.
- `--mlbench`: folder with LetterRecognition.rda (20,000 x 16) and Satellite.rda (6,435 x 36), tabular data of the R
  package mlbench (GPL-2; Debian: r-cran-mlbench, in R/site-library/mlbench/data). Needs `pip install rdata`.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import offramp as ofr
from offramp import data

FOLDER = Path(__file__).parents[1] / "runs" / "populations"
Rows = tuple[Tensor, Tensor]
"""Features `[n, width]` and labels `[n]`."""


def perceptron(train: Rows, held_out: Rows, widths: Sequence[int], epochs: int, name: str) -> ofr.Recording:
    """Trains a perceptron with an exit behind every hidden layer but the last, and records what was held out."""
    sizes = [train[0].shape[1], *widths]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hidden = [nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU()) for a, b in itertools.pairwise(sizes)]
        backbone = nn.Sequential(*hidden, nn.Linear(widths[-1], int(train[1].max()) + 1))
        model = ofr.attach(backbone, at=[str(k) for k in range(len(widths) - 1)], example=train[0][:2])
    loader = DataLoader(TensorDataset(*train), batch_size=128, shuffle=True, generator=torch.Generator().manual_seed(0))
    ofr.fit(model, loader, epochs=epochs, optimizer="adamw", device="cpu", progress=False)
    return ofr.record(model, DataLoader(TensorDataset(*held_out), batch_size=1000), {"split": "held out", "data": name})


def fashion() -> ofr.Recording:
    """Pixels of Fashion-MNIST."""
    train, test = data.load("fashion-mnist")
    pixels = [part.images.flatten(1).float() / 255 for part in (train, test)]
    kept = slice(0, 50_000)
    rest = torch.cat([pixels[0][50_000:], pixels[1]]), torch.cat([train.labels[50_000:], test.labels])
    return perceptron(
        (pixels[0][kept], train.labels[kept]), rest, widths=(64, 256, 512, 512), epochs=5, name="fashion pixels"
    )


def table(file: Path, label: str, training: int) -> tuple[Rows, Rows]:
    """A data frame of an R file as standardised training rows and held-out rows."""
    import rdata

    frame = next(iter(rdata.read_rda(file).values()))
    labels = torch.as_tensor(frame[label].astype("category").cat.codes.to_numpy(copy=True)).long()
    values = torch.as_tensor(frame.drop(columns=[label]).to_numpy(dtype="float32", copy=True))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    values, labels = values[order], labels[order]
    values = (values - values[:training].mean(0)) / values[:training].std(0)
    return (values[:training], labels[:training]), (values[training:], labels[training:])


def letters(folder: Path) -> ofr.Recording:
    """Letter recognition: 26 classes from 16 numbers."""
    train, held_out = table(folder / "LetterRecognition.rda", "lettr", 8_000)
    return perceptron(train, held_out, widths=(96, 96, 96, 96), epochs=20, name="letters")


def satellite(folder: Path) -> ofr.Recording:
    """Satellite images: 6 kinds of ground from 36 numbers."""
    train, held_out = table(folder / "Satellite.rda", "classes", 2_500)
    return perceptron(train, held_out, widths=(64, 64, 64, 64), epochs=20, name="satellite")


def together(run: Path) -> ofr.Recording:
    """All recorded samples of a run that were not trained on."""
    parts = [ofr.Recording.load(run / "recordings" / f"{split}.safetensors") for split in ("calibration", "validation")]
    labels = torch.cat([part.required_labels for part in parts])
    logits = torch.cat([part.logits for part in parts], dim=1)
    return ofr.Recording(logits, labels, parts[0].macs, parts[0].head_macs, {**parts[0].meta, "split": "held out"})


def makers(runs: list[Path], mlbench: Path | None) -> Iterator[tuple[str, Callable[[], ofr.Recording]]]:
    """What can be made from what is there, by name."""
    for i, run in enumerate(runs):
        yield f"fashion ResNet {i}", lambda run=run: together(run)  # type: ignore[misc]
    yield "fashion pixels", fashion
    if mlbench is not None:
        yield "letters", lambda: letters(mlbench)
        yield "satellite", lambda: satellite(mlbench)


def populations() -> dict[str, ofr.Recording]:
    """All recordings that were made, by name.

    Raises:
        SystemExit: there are none.
    """
    found = {path.stem: ofr.Recording.load(path) for path in sorted(FOLDER.glob("*.safetensors"))}
    if not found:
        raise SystemExit("There are no recordings yet: run python benchmarks/populations.py first.")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="*", default=[])
    parser.add_argument("--mlbench", type=Path)
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, make in makers(options.runs, options.mlbench):
        path = FOLDER / f"{name}.safetensors"
        if not path.exists():
            make().save(path)
        found = ofr.Recording.load(path)
        accuracies = ", ".join(f"{100 * a:.1f}" for a in found.correct.double().mean(1).tolist())
        shares = ", ".join(f"{m / found.plain_macs:.2f}" for m in found.macs)
        print(
            f"{name}: {found.samples:,} samples, {found.classes} classes; exits {accuracies} % at {shares} of the MACs"
        )


if __name__ == "__main__":
    main()
