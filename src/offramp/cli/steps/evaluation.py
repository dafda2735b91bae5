"""Takes the exits of a run for real on its test split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

import offramp as ofr
from offramp.cli.materials import SPLITS, Materials, load_model
from offramp.cli.run_folder import CALIBRATION, RunFolder
from offramp.cli.session import Session
from offramp.cli.steps import surroundings
from offramp.cli.steps.speed import measure_speed
from offramp.errors import FileFormatError, OfframpError
from offramp.reporters import Provenance, Results, Subject
from offramp.reporters.results import Source


def evaluate(run: RunFolder, session: Session, again: bool) -> Results:
    """Evaluates the run's policy, and writes `results.json`.

    Raises:
        OfframpError: the policy was evaluated before, and `again` is False.
        FileFormatError: a part of the run is missing or damaged.
        DataError: the images cannot be had, or are not those of the run.
    """
    facts = run.facts
    policy = ofr.Policy.load(run.policy)
    looks = _earlier_looks(run, policy, again) + 1
    materials = Materials.of(run.request)
    materials.check_same(facts["data"]["splits"], run.description)
    model = load_model(run, materials, session.device)
    session.say(f"Taking the exits on the test split ({len(materials.test):,} samples) ...")
    test = ofr.record(model, materials.loader("test"), {"split": "test", "seed": run.request.seed})
    taken = take_exits(model, policy, materials.loader("test"))
    session.say("Measuring time against the plain network ...")
    inputs = torch.cat([inputs for inputs, _ in materials.loader("test")])
    source = Source("test", len(taken), run.request.seed, surroundings.device_name(session.device))
    results = Results.of(
        test,
        policy,
        _subject(run, facts, model, materials),
        _provenance(run, session, materials, looks),
        taken=taken,
        images=materials.test.images[materials.splits.test],
        calibration=ofr.Recording.load(run.recording("calibration")),
        evidence=_evidence(run, policy, session),
        history=ofr.History.load(run.history),
        speed=measure_speed(model, policy, inputs, taken.exits, source),
    )
    results.save(run.results)
    return results


def evaluated(run: RunFolder) -> bool:
    """Whether the run has results of the policy it has now."""
    if not run.results.exists():
        return False
    return Results.load(run.results).policy == ofr.Policy.load(run.policy).to_dict()


def take_exits(model: ofr.ExitModel, policy: ofr.Policy, loader: Iterable[tuple[Tensor, Tensor]]) -> ofr.Decisions:
    """What the deployed network decides on all batches, as one value on the CPU."""
    runtime = ofr.deploy(model, policy)
    parts = [runtime(model.to_own_device(inputs)) for inputs, _ in loader]
    macs = [part.macs for part in parts if part.macs is not None]
    return ofr.Decisions(
        logits=torch.cat([part.logits.float().cpu() for part in parts]),
        exits=torch.cat([part.exits.cpu() for part in parts]),
        exit_count=model.exits,
        macs=torch.cat(macs).cpu() if len(macs) == len(parts) else None,
    )


def _earlier_looks(run: RunFolder, policy: ofr.Policy, again: bool) -> int:
    """How often the test split was looked at before.

    Raises:
        OfframpError: this policy was evaluated before, and nobody asked for it again.
    """
    if not run.results.exists():
        return 0
    try:
        earlier = Results.load(run.results)
    except FileFormatError:
        if not again:
            raise
        return 1
    if earlier.policy == policy.to_dict() and not again:
        raise OfframpError(
            f"{run.results} holds the results of this policy already, and the test split is to be looked at once. See "
            f"them with: offramp report {run.path}. Evaluate once more with --again."
        )
    return earlier.provenance.looks


def _evidence(run: RunFolder, policy: ofr.Policy, session: Session) -> dict[str, Any] | None:
    """The evidence of the calibration that chose this policy."""
    if not run.calibration.exists():
        return None
    found = CALIBRATION.read(run.calibration)
    if found.get("policy") != policy.to_dict():
        session.announce(
            f"{run.policy} is not the policy that {run.calibration} is about: nothing is certified. Calibrate again to "
            "have a certificate."
        )
        return None
    evidence: dict[str, Any] = found["evidence"]
    return evidence


def _subject(run: RunFolder, facts: dict[str, Any], model: ofr.ExitModel, materials: Materials) -> Subject:
    return Subject(
        model=run.request.arch,
        data=materials.test.name,
        classes=materials.test.classes,
        places=model.cuts,
        notice=facts["data"]["notice"],
    )


def _provenance(run: RunFolder, session: Session, materials: Materials, looks: int) -> Provenance:
    request = asdict(run.request)
    return Provenance(
        created=surroundings.now(),
        seed=request.pop("seed"),
        device=surroundings.device_name(session.device),
        versions=surroundings.versions(),
        commit=surroundings.commit(),
        splits={name: len(getattr(materials.splits, name)) for name in SPLITS},
        settings={name: _plain(value) for name, value in request.items()},
        looks=looks,
    )


def _plain(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value
