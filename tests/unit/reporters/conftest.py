from __future__ import annotations

import pytest
import torch

import offramp as ofr
from offramp.latency import Timing
from offramp.reporters import Provenance, Results, Subject
from offramp.reporters.results import Source, Speed
from offramp.training import EpochRow, FinalExitCheck, History, Scores

SAMPLES, CLASSES = 90, 3
HOSTILE = "<script>alert('x')</script> & \"[bold]co\""


def make_recording(split: str, seed: int, samples: int = SAMPLES) -> ofr.Recording:
    """Three exits that get better with depth; exit 1 is never sure of anything."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (samples,), generator=generator)
    noise = torch.randn(3, samples, CLASSES, generator=generator)
    signal = torch.nn.functional.one_hot(labels, CLASSES).float()
    logits = torch.stack([3.0 * (k + 1) * signal + noise[k] for k in range(3)])
    logits[1] *= 0.01
    return ofr.Recording(
        logits, labels, macs=[110, 420, 1030], head_macs=[10, 20], meta={"split": split, "seed": seed, "device": "cpu"}
    )


@pytest.fixture
def recording() -> ofr.Recording:
    return make_recording("test", seed=1)


@pytest.fixture
def policy() -> ofr.Policy:
    return ofr.Policy(ofr.criteria.MaxProbability(), [0.9, 0.9], temperatures=[1.2, 0.8])


@pytest.fixture
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(256, (SAMPLES, 1, 8, 8), generator=generator, dtype=torch.uint8)


@pytest.fixture
def subject() -> Subject:
    return Subject("tiny", "made up", ("cat", "dog", HOSTILE), ("layer1", HOSTILE), notice=f"Careful: {HOSTILE}")


@pytest.fixture
def provenance() -> Provenance:
    return Provenance(
        created="2030-01-02T03:04:05+00:00",
        seed=7,
        device="cpu (2 threads)",
        versions={"torch": "2.13.0"},
        commit=None,
        splits={"train": 10, "test": SAMPLES},
        settings={"arch": HOSTILE, "epochs": 2},
        looks=2,
    )


@pytest.fixture
def history() -> History:
    train = Scores(loss=(1.0, 1.0, 1.0), accuracy=(0.5, 0.6, 0.7), samples=10)
    rows = tuple(
        EpochRow(epoch, "joint", 0.1, train, Scores((1.0,) * 3, (0.5, 0.6, 0.7 + epoch / 100), 20), 1.5)
        for epoch in (1, 2)
    )
    check = FinalExitCheck(alone=0.75, after=0.72, low=-0.08, high=0.02, samples=20)
    return History(rows, best_epoch=2, stopped="epochs", seconds=3.0, final_exit=check)


@pytest.fixture
def speed() -> tuple[Speed, ...]:
    source = Source("test", 64, 1, "cpu (2 threads)")
    plain, exits = Timing(0.64, 0.60, 0.70, 5), Timing(0.16, 0.15, 0.20, 5)
    return (Speed.of(source, 1, 2, [0.5, 0.0, 0.5], plain, exits),)


@pytest.fixture
def results(
    recording: ofr.Recording,
    policy: ofr.Policy,
    images: torch.Tensor,
    subject: Subject,
    provenance: Provenance,
    history: History,
    speed: tuple[Speed, ...],
) -> Results:
    """Every section filled."""
    calibration = make_recording("calibration", seed=3, samples=300)
    goal = ofr.goals.AccuracyDrop(0.2, delta=0.1)
    outcome = ofr.calibrate(calibration, policy.criterion, goal, temperatures=policy.temperatures)
    return Results.of(
        recording,
        policy,
        subject,
        provenance,
        taken=ofr.simulate(recording, policy),
        images=images,
        calibration=calibration,
        evidence=outcome.evidence.to_dict(),
        history=history,
        speed=speed,
    )
