"""The learned ranking: evolution on a fitness that is known, the trials, and pruning by what was learned."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import offramp as ofr
from offramp.compression import EarlyExit, Trainer
from offramp.compression.algorithms import FilterPruning, Workshop
from offramp.compression.learned_ranking import Evolution, Trial, ranked, unchanged
from offramp.errors import CompressionError

SPREADS = {"a": 1.0, "b": 1.0, "c": 1.0}
WANTED = {"a": 4.0, "b": 0.25, "c": 1.0}
SHORT = {"interlayer_ranking_type": "learned_ranking", "generations": 12, "train_steps": 2, "max_pruning": 0.6}


def miss(ranking: Any) -> float:
    return -sum(abs(math.log(ranking[name][0] / scale)) for name, scale in WANTED.items())


def test_evolution_comes_near_the_scales_that_are_wanted():
    found = Evolution(generations=300, population=32, seed=1).run(SPREADS, miss)
    assert miss(found) > 0.15 * miss(unchanged(SPREADS))


def test_the_result_is_never_worse_than_no_ranking_and_one_generation_is_none():
    plain = unchanged(SPREADS)
    assert Evolution(generations=30).run(SPREADS, lambda ranking: float(ranking == plain)) == plain
    assert Evolution(generations=1).run(SPREADS, miss) == unchanged(SPREADS)


def test_the_same_seed_tries_the_same_rankings():
    """NNCF's generations were all alike; these differ from each other, and are the same in every run."""
    tried: list[list[Any]] = [[], [], []]
    for kept, seed in zip(tried, (3, 3, 4), strict=True):
        Evolution(generations=80, population=16, seed=seed).run(SPREADS, lambda r, kept=kept: kept.append(r) or miss(r))
    assert tried[0] == tried[1] != tried[2]
    assert len({str(ranking) for ranking in tried[0]}) == 80


def test_scores_are_scaled_and_shifted_by_group():
    scores = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0])}
    found = ranked(scores, {"a": (2.0, 1.0), "b": (1.0, -3.0)})
    assert {name: s.tolist() for name, s in found.items()} == {"a": [3.0, 5.0], "b": [0.0]}


class Lopsided(nn.Module):
    """What `useless` makes is nearly lost on the way, although its weights are large; `useful` has small ones."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.useless, self.useful = nn.Conv2d(4, 32, 1), nn.Conv2d(4, 32, 3, padding=1)
        self.read_useless, self.read_useful = nn.Conv2d(32, 4, 1), nn.Conv2d(32, 4, 1)
        self.fc = nn.Linear(4, 2)
        with torch.no_grad():
            self.read_useless.weight.mul_(1e-4)
            self.useful.weight[:4].mul_(3.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        one = self.read_useless(torch.relu(self.useless(x)))
        return self.fc((one + self.read_useful(torch.relu(self.useful(x)))).amax((2, 3)))


def data() -> list[tuple[torch.Tensor, torch.Tensor]]:
    noise = torch.Generator().manual_seed(0)
    images = torch.randn(160, 1, 6, 6, generator=noise)
    images[:80, :, 2:4, 2:4] += 3
    labels = (torch.arange(160) < 80).long()
    order = torch.randperm(160, generator=noise)
    return list(zip(images[order].split(16), labels[order].split(16), strict=True))


def workshop(**changes: Any) -> Workshop:
    given = {"data": data(), "loss": cross_entropy, **changes}
    return Workshop(data()[0][0], Lopsided(), **given)


def trained() -> nn.Module:
    model = Lopsided()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for x, y in data() * 6:
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.eval()


def test_a_learned_ranking_leaves_a_network_no_worse_than_the_same_ranking_unlearned():
    def loss(**settings: Any) -> float:
        model = trained()
        FilterPruning(pruning_init=0.6, pruning_target=0.6, **settings).apply(model, workshop())
        return Trial(data(), cross_entropy, steps=2, seed=42).loss_of(copy.deepcopy(model))

    assert loss(**SHORT) <= loss(all_weights=True) + 1e-6


def test_the_random_state_and_the_model_are_left_alone_and_the_search_is_kept():
    model = trained()
    pruner = FilterPruning(pruning_target=0.6, **SHORT).apply(model, workshop())
    assert pruner.ranking is None, "nothing is to go yet"
    weights, before = [p.detach().clone() for p in model.parameters()], torch.get_rng_state()
    pruner.set_rate(0.5)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(p, kept) for p, kept in zip(model.parameters(), weights, strict=True))
    again = FilterPruning(pruning_target=0.6, **SHORT).apply(trained(), workshop(data=[]))
    again.load_state_dict(pruner.state_dict())
    again.set_rate(0.5)  # without data: it is not searched for a second time
    assert {k: v.tolist() for k, v in again.kept(again.model).items()} == {
        k: v.tolist() for k, v in pruner.kept(model).items()
    }


def test_a_configuration_of_nncf_runs_to_its_end():
    node = {
        "algorithm": "filter_pruning",
        "pruning_init": 0.5,
        "params": {
            "pruning_target": 0.5,
            "schedule": "baseline",
            "interlayer_ranking_type": "learned_ranking",
            "legr_params": {"generations": 3, "train_steps": 1, "max_pruning": 0.6, "random_seed": 7},
        },
    }
    trainer = Trainer(data(), data(), lr=0.01)
    config = {"input_info": {"sample_size": [2, 1, 6, 6]}, "compression": node}
    loop = EarlyExit(maximal_total_epochs=2, maximal_relative_accuracy_degradation=50)
    outcome = ofr.compress(trained(), config, loop=loop, progress=False, **trainer.functions)
    pruner = outcome.controller.compressors[0]
    assert outcome.holds
    assert pruner.settings.generations == 3
    assert pruner.ranking is not None
    assert 0 < outcome.statistics.compression_rate <= 0.5


@pytest.mark.parametrize("missing", ["data", "loss"])
def test_without_data_or_loss_it_is_refused_at_once(missing: str):
    with pytest.raises(CompressionError, match="no data or no loss"):
        FilterPruning(**SHORT).apply(Lopsided(), workshop(**{missing: None}))


def test_empty_data_is_told():
    pruner = FilterPruning(**SHORT).apply(Lopsided(), workshop(data=[]))
    with pytest.raises(CompressionError, match="no batches"):
        pruner.set_rate(0.5)
