from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from offramp.cli.classify_options import ClassifyOptions, ExitOptions, ImageOptions, NetworkOptions, TrainingOptions
from offramp.cli.steps.classification.images import Images, read
from offramp.data import ImageData, write_cifar_batches, write_image_folder


def stripes(samples: int, seed: int) -> ImageData:
    images = torch.randint(0, 256, (samples, 3, 32, 32), generator=torch.Generator().manual_seed(seed)).byte()
    return ImageData("stripes", images, torch.arange(samples) % 4, tuple("abcd"), "made up")


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cifar_batches(stripes(200, 0), stripes(40, 1), tmp_path_factory.mktemp("cifar"))


def found(folder: Path, calibrate: list[str] | None = None, **images: Any) -> Images:
    options = ClassifyOptions(
        network=NetworkOptions(arch="resnet20_cifar"),
        exits=ExitOptions(calibrate=calibrate),
        training=TrainingOptions(batch_size=64),
        images=ImageOptions(**images),
    )
    return read(folder, options)


def pixels(loader: Any) -> torch.Tensor:
    return torch.cat([batch for batch, _ in loader])


def test_validation_is_never_augmented_and_training_is(cifar: Path) -> None:
    images = found(cifar)
    assert pixels(images.validation).equal(pixels(images.validation))
    passes = [{tuple(row.tolist()) for row in pixels(images.train)[:, 0].flatten(1)} for _ in range(2)]
    # One image in 162 is shifted and mirrored as in the pass before.
    assert len(passes[0] & passes[1]) < 20


def test_without_a_validation_split_the_test_images_do_not_stand_in(cifar: Path) -> None:
    images = found(cifar, validation_split=0.0)
    assert images.validation is None
    assert images.record["sizes"] == {"train": 200, "validation": 0, "calibration": 0, "test": 40}


def test_fractions_of_every_split(cifar: Path) -> None:
    images = found(cifar, train_size=0.5, validation_size=0.2, test_size=0.1)
    assert images.record["sizes"] == {"train": 90, "validation": 4, "calibration": 0, "test": 4}


def test_calibration_gets_images_of_its_own(cifar: Path) -> None:
    images = found(cifar, calibrate=["drop=1%"])
    assert images.record["sizes"] == {"train": 160, "validation": 20, "calibration": 20, "test": 40}
    shared = {tuple(row.tolist()) for row in pixels(images.validation).flatten(1)} & {
        tuple(row.tolist()) for row in pixels(images.calibration).flatten(1)
    }
    assert not shared


def test_images_in_memory_need_no_workers(cifar: Path) -> None:
    images = found(cifar, workers=5000)
    assert any("-j 5000: more processes than the cores here" in note for note in images.notes)
    assert images.train.num_workers == 0  # type: ignore[attr-defined]


def test_image_files_get_as_many_workers_as_there_are_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("PIL")
    write_image_folder(stripes(40, 0), stripes(8, 1), tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1}, raising=False)
    options = ClassifyOptions(network=NetworkOptions(arch="resnet18"), images=ImageOptions(workers=30))
    images = read(tmp_path, options)
    assert images.train.num_workers == 2  # type: ignore[attr-defined]
    assert images.example.shape == (1, 3, 224, 224)
