"""What a criterion costs beside the stage whose rows it decides about.

    python benchmarks/criteria.py [--batch 256] [--rounds 40]

Scores and answers of every ready-made criterion, and of trained gates and ensembles, at the last early exit of a
ResNet-20 on CIFAR-sized images, where ensembles have most to read. Each is timed in turn with that stage in one run;
the ratio of the medians is what counts, and at most 2 % is aimed at.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import torch

import offramp as ofr
from offramp import zoo
from offramp.criteria import CRITERIA, Criterion, criterion_from_dict, ready_made
from offramp.latency import measure
from offramp.segments import Plan, segments_of
from provenance import write

CUTS = ["layer1", "layer2", "layer3.0"]
AIM = 0.02


def main(batch: int, rounds: int) -> None:
    torch.manual_seed(0)
    images = torch.randn(batch, 3, 32, 32)
    model = ofr.attach(zoo.build("resnet20_cifar"), at=CUTS, example=images[:2]).eval()
    with torch.no_grad():
        recording = ofr.Recording(torch.stack(model(images)), None, model.cost.macs, model.cost.head_macs)
    results: dict[str, Any] = {"batch": batch, "rounds": rounds, "aim": AIM, "shares": {}, "shares_compiled": {}}
    for name, criterion in criteria(recording).items():
        for key, backend in (("shares", "eager"), ("shares_compiled", "compile")):
            # Every criterion is another program: none may meet what was compiled for the others.
            torch.compiler.reset()
            results[key][name] = share(model, criterion, recording, images, rounds, backend)
            print(f"{name:28} {backend:8} {100 * results[key][name]:6.2f} % of its stage", flush=True)
    results["above_aim"] = sorted(name for name, value in results["shares"].items() if value > AIM)
    write("criteria", results)


def criteria(recording: ofr.Recording) -> dict[str, Criterion]:
    """Every criterion that needs no parameters, and some that are learned."""
    found = {name: criterion_from_dict({"name": name}) for name in ready_made()}
    labels = recording.logits[-1].argmax(dim=-1)
    labelled = ofr.Recording(recording.logits, labels, recording.macs, recording.head_macs)
    found["gate"] = ofr.train_gates(recording)
    found["gate, 16 hidden"] = ofr.train_gates(recording, hidden=16)
    found["weighted_ensemble, trained"] = ofr.train_ensemble(labelled, biases=True)
    return found


@torch.no_grad()
def share(
    model: ofr.ExitModel,
    criterion: Criterion,
    recording: ofr.Recording,
    images: torch.Tensor,
    rounds: int,
    backend: str,
) -> float:
    """Time of scoring and answering over the time of the last early stage and its head, both on the whole batch."""
    policy = ofr.Policy(criterion, [0.0] * (model.exits - 1))
    exit = model.exits - 2
    stage = segments_of(model, Plan.of(model, ofr.Policy(CRITERIA["margin"](), [0.0] * (model.exits - 1))))[exit]
    earlier = recording.logits[:exit].unbind()
    given = carried(model, images, exit)

    def decide(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return policy.judge(exit, logits, earlier)

    # What the stage's own segment spends on its criterion is left out: stages and head alone.
    body: Any = partial(alone, stage)
    calls = {"criterion": partial(prepared(decide, backend), recording.logits[exit]), "stage": prepared(body, backend)}
    calls["stage"] = partial(calls["stage"], given)
    times = measure(calls, rounds)
    return times["criterion"].median / times["stage"].median


def alone(stage: Any, tensors: list[torch.Tensor]) -> torch.Tensor:
    """The stages of a segment and its head, without the criterion."""
    feature, values = None, stage.entry.unpack(tensors)
    for part in stage.stages:
        feature, values = part(*values)
    return stage.head(feature)


def carried(model: ofr.ExitModel, images: torch.Tensor, exit: int) -> list[torch.Tensor]:
    """What arrives at a segment."""
    policy = ofr.Policy(CRITERIA["margin"](), [0.0] * (model.exits - 1))
    tensors = [images]
    for segment in segments_of(model, Plan.of(model, policy))[:exit]:
        _, _, *tensors = segment(*tensors)
    return tensors


def prepared(call: Any, backend: str) -> Any:
    return torch.compile(call) if backend == "compile" else call


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    main(arguments.batch, arguments.rounds)
