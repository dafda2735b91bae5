from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import CLASSES, Images, dataset, image_model, text_model, train_loader, val_loader
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

import offramp as ofr
from offramp.errors import TrainingError
from offramp.regimes import Disjoint, Joint, Regime
from offramp.training import Callback, Moment
from offramp.training.caching import tail_of

MODELS = {"image": image_model, "text": text_model}


def fit(model: ofr.ExitModel, kind: str = "image", **options: Any) -> ofr.History:
    arguments = {"train_loader": train_loader(kind), "val": val_loader(kind), "epochs": 4, "lr": 0.05, **options}
    arguments.setdefault("regime", Disjoint())
    return ofr.fit(model, device="cpu", progress=False, **arguments)


class Counted(Dataset[Any]):
    """Counts how often a sample is read."""

    def __init__(self, kind: str = "image") -> None:
        self.inner, self.reads = dataset(kind, seed=1), 0

    def __len__(self) -> int:
        return len(self.inner)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Any:
        self.reads += 1
        return self.inner[index]


@pytest.mark.parametrize("kind", list(MODELS))
def test_training_on_kept_features_is_training(kind: str):
    plain, kept = MODELS[kind](), MODELS[kind]()
    expected, history = fit(plain, kind), fit(kept, kind, cache_features=True)
    for one, other in zip(expected.rows, history.rows, strict=True):
        assert one.train.loss == pytest.approx(other.train.loss, rel=1e-5)
        assert one.val.accuracy == pytest.approx(other.val.accuracy)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(value, kept.state_dict()[name])


@pytest.mark.parametrize("kind", list(MODELS))
def test_mixed_precision_keeps_narrow_features(kind: str):
    expected = fit(MODELS[kind](), kind, precision="bf16")
    history = fit(MODELS[kind](), kind, precision="bf16", cache_features=True)
    assert history.rows[-1].train.loss == pytest.approx(expected.rows[-1].train.loss, rel=1e-2)


def test_the_backbone_does_not_run_in_the_second_phase():
    calls: list[int] = []

    class Counter(Callback):
        def epoch_done(self, moment: Moment) -> None:
            calls.append(passes)

    passes = 0

    def count(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal passes
        passes += 1

    model = image_model()
    model.backbone.stem.register_forward_hook(count)
    data = Counted()
    fit(model, train_loader=DataLoader(data, 16, shuffle=True), callbacks=[Counter()], cache_features=True)
    assert calls[3] == calls[2]
    # Two epochs of training and validation on images; the check of the backbone alone; one pass to keep features.
    assert data.reads <= 2 * 48 + 48 + 2 * 48 + 32


def test_a_run_on_kept_features_resumes_to_the_same_bits(tmp_path: Path):
    class Stop(Callback):
        def step_done(self, moment: Moment) -> None:
            if (moment.epoch, moment.step) == (4, 2):
                raise KeyboardInterrupt

    whole = image_model()
    expected = fit(whole, cache_features=True)
    with pytest.raises(KeyboardInterrupt):
        fit(image_model(), cache_features=True, callbacks=[Stop()], out=tmp_path)
    again = image_model(seed=5)
    assert fit(again, cache_features=True, out=tmp_path, resume=True) == expected
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True))


def test_what_does_not_fit_is_not_kept_and_said():
    plain, kept = image_model(), image_model()
    expected = fit(plain)
    with pytest.warns(UserWarning, match=r"the features take .* MiB and may take 0.0: training goes on without"):
        assert fit(kept, cache_features=100) == expected


def test_random_augmentation_is_refused():
    class Noisy(Counted):
        def __getitem__(self, index: int) -> Any:
            image, label = self.inner[index]
            return image + 0.1 * torch.randn_like(image), label

    with pytest.raises(TrainingError, match="not the same each time they are read"):
        fit(image_model(), train_loader=DataLoader(Noisy(), 16), cache_features=True)

    class Epochs(Counted):
        def set_epoch(self, epoch: int) -> None:
            pass

    with pytest.raises(TrainingError, match="not the same each time they are read"):
        fit(image_model(), train_loader=DataLoader(Epochs(), 16), cache_features=True)


class Stream(IterableDataset[Any]):
    def __iter__(self):
        return iter(dataset("image", seed=1))  # type: ignore[call-overload]


@pytest.mark.parametrize("loader", [list(val_loader()), DataLoader(Stream(), 16)])
def test_loaders_without_a_data_set_are_refused(loader: Any):
    with pytest.raises(TrainingError, match="a DataLoader with batches of a data set that has a length is needed"):
        fit(image_model(), train_loader=loader, cache_features=True)


@pytest.mark.parametrize(
    ("regime", "value", "message"),
    [
        (Joint(), True, "in no phase of Joint do only the heads train"),
        (Disjoint(), -3, "cache_features=-3 must be True, False or a number of bytes"),
        (Disjoint(), 0.5, "cache_features=0.5 must be"),
    ],
)
def test_impossible_caches_are_told(regime: Regime, value: Any, message: str):
    with pytest.raises(TrainingError, match=message):
        fit(image_model(), regime=regime, cache_features=value)


class TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x.mean((2, 3))))


class Scaled(TwoLayers):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Identity()  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def test_only_a_last_layer_on_fixed_inputs_is_left_to_run():
    features = torch.randn(3, 6, 4, 4)
    pooled = ofr.heads.PooledLinear(6, CLASSES)
    assert tail_of(pooled, features) is pooled.linear
    pool = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
    dropping = nn.Sequential(*pool, nn.Dropout(0.5), nn.Linear(6, CLASSES))
    sdn = ofr.heads.SdnPool(6, (4, 4), CLASSES)
    for head in (dropping, sdn, TwoLayers(), Scaled(), nn.Sequential(*pool, nn.Linear(6, CLASSES), nn.Tanh())):
        assert tail_of(head, features) is head
        assert head.training


def test_features_that_are_overwritten_behind_the_cut_are_kept_as_they_were():
    def overwriting() -> ofr.ExitModel:
        torch.manual_seed(0)
        backbone = Images()
        backbone.blocks = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(6, 6, 1))
        return ofr.attach(backbone, at=["blocks.0"], example=torch.zeros(1, 1, 6, 6), head="sdn_pool")

    plain, kept = overwriting(), overwriting()
    expected, history = fit(plain), fit(kept, cache_features=True)
    assert history.rows[-1].train.loss == pytest.approx(expected.rows[-1].train.loss, rel=1e-5)
