"""Which engine cuts which kind of model, and how long cutting takes.

    python benchmarks/cut_matrix.py

Every kind of `model_kinds` is cut and compared with simulating at 1, 4 and 7 rows. Two networks of full size are cut
for the time alone. One thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import offramp as ofr
import torchvision_operators
from model_kinds import KINDS, Kind
from provenance import write

ROWS = (1, 4, 7)


def full_size() -> dict[str, Callable[[], tuple[nn.Module, Any, list[str]]]]:
    """Networks as they are used: name, and how to get model, example and cuts."""
    torchvision_operators.declare()
    import timm
    import transformers

    ids = torch.randint(1, 1000, (2, 128))
    tokens = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    bert = transformers.AutoModelForSequenceClassification.from_config
    return {
        "ResNet-50, 224 x 224": lambda: (
            timm.create_model("resnet50"),
            torch.randn(2, 3, 224, 224),
            ["layer1", "layer3"],
        ),
        "BERT base, 128 tokens": lambda: (
            bert(transformers.BertConfig()),
            tokens,
            ["bert.encoder.layer.3", "bert.encoder.layer.7"],
        ),
    }


def cut(model: nn.Module, example: Any, cuts: list[str]) -> tuple[ofr.ExitModel, float]:
    """The model with exits, and the seconds that took."""
    start = time.perf_counter()
    attached = ofr.attach(model, at=cuts, example=example).eval()
    return attached, time.perf_counter() - start


def row(kind: Kind) -> dict[str, Any]:
    """One kind: cut, and compared with simulating."""
    model, seconds = cut(kind.make(), kind.batch(2), list(kind.cuts))
    chain = model.chain()
    return {
        "kind": kind.name,
        "engine": chain.engine,
        "cuts": list(kind.cuts),
        "tensors": [carry.tensors for carry in chain.carries],
        "refusals": dict(chain.refusals),
        "equal": all(equal(model, kind, rows) for rows in ROWS),
        "seconds": round(seconds, 2),
    }


@torch.no_grad()
def equal(model: ofr.ExitModel, kind: Kind, rows: int) -> bool:
    """Whether taking exits gives what simulating them does, with the surer half leaving at every exit."""
    inputs = kind.batch(rows, seed=3)
    margin = ofr.criteria.Margin()
    logits = torch.stack(model(inputs))
    policy = ofr.Policy(margin, [between(margin.score(x)) for x in logits[:-1]])
    simulated = ofr.simulate(ofr.Recording(logits, None, model.cost.macs, model.cost.head_macs), policy)
    taken = ofr.deploy(model, policy)(inputs)
    same = torch.equal(taken.exits, simulated.exits)
    return same and torch.allclose(taken.logits, simulated.logits, rtol=1e-4, atol=1e-5)


def between(scores: torch.Tensor) -> float:
    """A threshold in the widest gap between scores, as far from any as can be; below the only one."""
    ordered = scores.sort().values
    if len(ordered) == 1:
        return float(ordered[0]) - 1
    k = int(ordered.diff().argmax())
    return float(ordered[k : k + 2].mean())


def main() -> None:
    """Measures, prints and writes the results."""
    torch.set_num_threads(1)
    rows = [row(kind) for kind in KINDS]
    for r in rows:
        print(f"{r['kind']:<36}{r['engine']:<8}{'equal' if r['equal'] else 'DIFFERS':<9}{r['seconds']:6.2f} s")
    full = []
    for name, make in full_size().items():
        model, seconds = cut(*make())
        full.append({"network": name, "engine": model.chain().engine, "seconds": round(seconds, 2)})
        print(f"{name:<36}{model.chain().engine:<17}{seconds:6.2f} s")
    write("cut_matrix", {"rows_compared": list(ROWS), "rows": rows, "full_size": full})


if __name__ == "__main__":
    main()
