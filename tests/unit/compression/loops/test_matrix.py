"""Every schedule under every loop in every combination, with a trainer that hardly trains: nothing crashes.

NNCF's loop crashed on most of these the moment it succeeded.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from offramp.compression import (
    ALGORITHMS,
    AdaptiveCompressionLevel,
    Configuration,
    ConfigurationError,
    EarlyExit,
    Loop,
    Outcome,
    RateSearch,
    Stage,
    compress,
)

NO_ADAPTATION = {"batchnorm_adaptation": {"num_bn_adaptation_samples": 0}}
SCHEDULES: dict[str, list[dict[str, Any]]] = {
    "filter_pruning": [
        {"pruning_init": 0.1, "params": {"schedule": schedule, "pruning_steps": 3, "pruning_target": 0.5}}
        for schedule in ("exponential", "baseline", "exponential_with_bias")
    ]
    + [{"params": {"schedule": "baseline", "pruning_flops_target": 0.3, "num_init_steps": 1}}],
    "magnitude_sparsity": [
        {"sparsity_init": 0.1, "params": {"schedule": schedule, **timing}}
        for schedule, timing in {
            "polynomial": {"sparsity_target": 0.5, "sparsity_target_epoch": 2, "sparsity_freeze_epoch": 4},
            "exponential": {"sparsity_target": 0.5, "sparsity_target_epoch": 2, "sparsity_freeze_epoch": 4},
            # Rises by 0.05 at most.
            "adaptive": {"sparsity_target": 0.2},
            "multistep": {"multistep_steps": [1, 2], "multistep_sparsity_levels": [0.1, 0.3, 0.5]},
        }.items()
    ],
    "rb_sparsity": [
        {"sparsity_init": 0.1, "params": {"schedule": schedule, **timing}}
        for schedule, timing in {
            "exponential": {"sparsity_target": 0.5, "sparsity_target_epoch": 2, "sparsity_freeze_epoch": 4},
            "polynomial": {"sparsity_target": 0.5, "sparsity_target_epoch": 2, "sparsity_freeze_epoch": 4},
            # Rises by 0.05 at most.
            "adaptive": {"sparsity_target": 0.2},
            "multistep": {"multistep_steps": [1, 2], "multistep_sparsity_levels": [0.1, 0.3, 0.5]},
        }.items()
    ],
    "const_sparsity": [{}],
    "movement_sparsity": [
        {"params": {"warmup_start_epoch": 0, "warmup_end_epoch": 2, "importance_regularization_factor": 0.1}}
    ],
    "quantization": [{"initializer": {"range": {"num_init_samples": 8}, **NO_ADAPTATION}}],
    "binarization": [
        {"mode": mode, "params": {"activations_bin_start_epoch": 0, "weights_bin_start_epoch": 1}}
        for mode in ("xnor", "dorefa")
    ],
    "knowledge_distillation": [{"type": "softmax"}, {"type": "mse"}],
    "low_rank": [{"params": {"parameters_target": 0.3}}],
}
"""What each algorithm may be asked for; the first of each stands for it in combinations."""

LOOPS: dict[str, Loop] = {
    "early_exit": EarlyExit(maximal_total_epochs=5),
    "adaptive": AdaptiveCompressionLevel(
        maximal_total_epochs=6, initial_training_phase_epochs=4, patience_epochs=1, initial_compression_rate_step=0.2
    ),
    "search": RateSearch(maximal_total_epochs=5, epochs_per_rate=2, rate_resolution=0.2),
}


class Network(nn.Module):
    """Two convolutions of which one is residual, norms, and a linear layer; some weights are zero already."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.wide = nn.Sequential(nn.Conv2d(16, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        self.back = nn.Sequential(nn.Conv2d(24, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16))
        self.hidden = nn.Linear(16, 16)
        self.out = nn.Linear(16, 4)
        with torch.no_grad():
            self.hidden.weight[0] = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = torch.relu(x + self.back(self.wide(x)))
        return self.out(torch.relu(self.hidden(x.mean((2, 3)))))


class Trainer:
    """One step an epoch; validation says what the test wants."""

    def __init__(self, succeeds: bool) -> None:
        self.succeeds = succeeds
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(8, 1, 6, 6, generator=generator)
        self.labels = torch.randint(0, 4, (8,), generator=generator)

    def train_epoch(self, controller: Any, model: nn.Module, epoch: int, optimizer: Any, lr_scheduler: Any) -> float:
        controller.scheduler.step()
        loss = F.cross_entropy(model(self.inputs), self.labels) + controller.loss()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    def validate(self, model: nn.Module, epoch: int) -> float:
        model(self.inputs)
        return 1.0 if self.succeeds and epoch >= 3 else 0.9 + 0.001 * epoch

    def optimizers(self, model: nn.Module) -> tuple[Any, None]:
        return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01), None


def nodes(*names: str) -> list[list[dict[str, Any]]]:
    """Every way to ask for these algorithms together: all schedules where there is one, else the first of each."""
    many = [SCHEDULES[name] if len(names) == 1 else SCHEDULES[name][:1] for name in names]
    return [
        [{"algorithm": name, **node} for name, node in zip(names, chosen, strict=True)]
        for chosen in itertools.product(*many)
    ]


def combinations() -> list[list[dict[str, Any]]]:
    """Each algorithm alone with every schedule, all pairs, and the three that NNCF's users combine most."""
    names = [name for name in SCHEDULES if name in ALGORITHMS]
    pairs = list(itertools.combinations(names, 2))
    triple = ("filter_pruning", "quantization", "knowledge_distillation")
    return [node for names in [*((name,) for name in names), *pairs, triple] for node in nodes(*names)]


def read(compression: list[dict[str, Any]], loop: Loop) -> Configuration | None:
    """The configuration; None where loop and algorithms do not go together, which is said."""
    mode = loop.to_dict()["mode"]
    params = {"maximal_relative_accuracy_degradation": 1.0, "maximal_total_epochs": 5}
    training = {"mode": mode, "params": params}
    try:
        return Configuration.from_dict({"compression": compression, "accuracy_aware_training": training})
    except ConfigurationError as error:
        for path, message in error.problems:
            assert "cannot be combined" in message or "moves one compression rate" in message, (path, message)
        return None


def label(compression: list[dict[str, Any]]) -> str:
    return "+".join(
        str(node["algorithm"]) + "".join(f"-{v}" for k, v in node.get("params", {}).items() if k == "schedule")
        for node in compression
    )


def test_every_algorithm_is_in_the_matrix() -> None:
    assert set(ALGORITHMS) <= set(SCHEDULES)


@pytest.mark.parametrize("compression", combinations(), ids=label)
def test_no_combination_crashes_under_any_loop(compression: list[dict[str, Any]]) -> None:
    # How a loop goes on after a failure does not depend on the combination: alone is enough.
    alone = len(compression) == 1
    loops = LOOPS.values() if alone else (LOOPS["early_exit"], LOOPS["search"])
    for loop, succeeds in itertools.product(loops, (True, False) if alone else (True,)):
        configuration = read(compression, loop)
        if configuration is not None:
            check(run(configuration, loop, Trainer(succeeds)), loop, succeeds)


def run(configuration: Configuration, loop: Loop, trainer: Trainer) -> Outcome:
    torch.manual_seed(0)
    return compress(
        Network(),
        configuration.algorithms,
        loop=loop,
        train_epoch=trainer.train_epoch,
        validate=trainer.validate,
        configure_optimizers=trainer.optimizers,
        data=[(trainer.inputs, trainer.labels)],
        baseline=1.0,
        progress=False,
    )


def check(outcome: Outcome, loop: Loop, succeeds: bool) -> None:
    full = [record for record in outcome.history if record.full]
    assert outcome.holds == any(record.budget >= 0 for record in full)
    assert outcome.holds <= succeeds
    if full:
        assert outcome.best_epoch in {record.epoch for record in full}
        assert outcome.controller.compression_stage() == Stage.FULLY
    # RB sparsity counts by what is achieved, and a trainer that hardly trains achieves nothing.
    if succeeds and isinstance(loop, EarlyExit) and "rb_sparsity" not in outcome.controller.names:
        assert outcome.holds
