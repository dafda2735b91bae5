"""The way of one `offramp classify`: options, images, network, training, thresholds, compression, test, export."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from offramp.cli.classify_options import ClassifyOptions
from offramp.cli.failures import INTERRUPTED, OK, UsageError
from offramp.cli.session import Session
from offramp.cli.steps import surroundings
from offramp.cli.steps.classification import (
    calibrating,
    compressing,
    exporting,
    images,
    networks,
    saved_options,
    sensitivity,
    summaries,
    testing,
    training,
)
from offramp.cli.steps.classification.checking import check
from offramp.cli.steps.classification.folder import RUN, ClassifyFolder, Journal
from offramp.cli.steps.classification.setting import Setting
from offramp.errors import DataError
from offramp.training.acceleration import launched


def run(data: Path | None, options: ClassifyOptions, session: Session) -> int:
    """Does what a command line asks for.

    Returns:
        The exit code.

    Raises:
        UsageError: the flags contradict each other or the network.
        DataError: the images cannot be had, or are not those of the run that is resumed.
        FileFormatError: weights are missing, damaged or of another network.
        TrainingError: training failed, or the folder cannot be written.
    """
    earlier = None if options.network.resume_from is None else ClassifyFolder.of(options.network.resume_from)
    goes_on = earlier is not None and not (options.training.evaluate or options.network.reset_optimizer)
    if earlier is not None:
        if goes_on:
            earlier.check_begun()
        facts = earlier.facts()
        options = saved_options.joined(options, facts["options"], strict=goes_on)
        data = data or Path(facts["data"])
    _check(options)
    if options.output.summary:
        summaries.show(options, data, session)
        return OK
    setting = _setting(_given(data), options, session, earlier, goes_on)
    try:
        session.deliver(_work(setting, goes_on))
    except KeyboardInterrupt:
        begun = setting.folder.checkpoint.exists()
        how = f" Continue with: offramp classify --resume-from {setting.folder.path}" if begun else ""
        setting.journal.say(f"Interrupted.{how}")
        return INTERRUPTED
    return OK


def _check(options: ClassifyOptions) -> None:
    """Refuses before any work what would fail behind it."""
    check(options, networks.places(options.network.arch, options.network.exits))
    if launched():
        raise UsageError("offramp classify is one process; several train by offramp.fit under `accelerate launch`.")
    if options.distillation.teacher:
        networks.places(options.distillation.teacher, None, "--kd-teacher")
    if options.exits.calibrate:
        _ = calibrating.parse(options.exits.calibrate).goal
    if options.compression.compress:
        compressing.configuration(options.compression.compress)
    if options.compression.sense:
        sensitivity.levels(options.compression.sense_range)


def _given(data: Path | None) -> Path:
    if data is None:
        raise UsageError("DATA: missing. Give the folder of the images, as the last word of the command line.")
    return data


def _setting(
    data: Path, options: ClassifyOptions, session: Session, earlier: ClassifyFolder | None, goes_on: bool
) -> Setting:
    """Reads the images, builds the network, and opens the folder with its log."""
    journal = Journal(session)
    policy = networks.policy(options.exits, networks.places(options.network.arch, options.network.exits).cuts)
    found = images.read(data, options)
    seed = options.common.seed or 0
    model = networks.network(options.network.arch, options.network.exits, len(found.classes), found.example, seed)
    if earlier is not None:
        _check_division(found.record, earlier, goes_on, bool(options.exits.calibrate))
    started = None if goes_on else networks.start(model, options)
    folder = earlier if goes_on and earlier else ClassifyFolder.fresh(options.output.out_dir, options.output.name)
    journal.open(folder.log)
    model.to(session.device)
    if session.device.type == "cpu":
        # Convolutions on a CPU run about twice as fast in this layout.
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    setting = Setting(options, session, journal, folder, found, model, policy)
    journal.say(
        f"Log file for this run: {folder.log.absolute()}",
        f"Run folder: {folder.path}",
        *_environment_lines(setting),
        *found.notes,
        *([started] if started else []),
    )
    _describe(setting, data)
    return setting


def _check_division(now: dict[str, Any], earlier: ClassifyFolder, goes_on: bool, calibrates: bool) -> None:
    """Refuses other images than the earlier run had, and to choose thresholds on images that it was trained on."""
    before = earlier.facts()["split"]
    if goes_on and before != now:
        raise DataError(f"The images are not divided as in {earlier.path}: they changed since. Begin a new run.")
    alike = all(before[digest] == now[digest] for digest in ("labels_sha256", "calibration_sha256"))
    if calibrates and not alike:
        raise DataError(
            f"--calibrate: {earlier.path} did not hold these images out, and may have been trained on them. Train with "
            "--calibrate, and keep --vs and --seed."
        )


def _environment_lines(setting: Setting) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in surroundings.versions().items())
    asked = setting.options.images
    without = asked.gpus and not asked.cpu and setting.device.type == "cpu"
    return [
        f"Command line: {' '.join(sys.argv)}",
        *([f"--gpus {asked.gpus}: there is no GPU that torch can use, so it is the CPU."] if without else []),
        f"Device: {surroundings.device_name(setting.device)}; commit {surroundings.commit() or 'unknown'}",
        f"Versions: {versions}",
    ]


def _describe(setting: Setting, data: Path) -> None:
    """Writes `run.json`; the one of a run that is resumed stays."""
    if setting.folder.description.exists():
        return
    RUN.write(
        setting.folder.description,
        {
            **setting.facts(),
            "data": str(data.absolute() if data.exists() else data),
            "given": saved_options.given(setting.options),
            "macs": list(setting.model.cost.macs),
            "plain_macs": setting.model.cost.plain,
            "created": surroundings.now(),
            "command_line": sys.argv,
            "device": surroundings.device_name(setting.device),
            "threads": torch.get_num_threads(),
            "versions": surroundings.versions(),
            "commit": surroundings.commit(),
        },
    )


def _work(setting: Setting, goes_on: bool) -> dict[str, Any]:
    asked = setting.options
    result: dict[str, Any] = {"run": str(setting.folder.path), "cuts": list(setting.model.cuts)}
    if asked.compression.sense:
        return {**result, "sensitivity": sensitivity.measure(setting)}
    if not asked.training.evaluate:
        training.train(setting, resume=goes_on)
    model = setting.model.eval()
    if asked.compression.compress:
        model, result["compression"] = compressing.compress(setting, asked.compression.compress, resume=goes_on)
    if asked.exits.calibrate:
        policy, result["calibration"] = calibrating.calibrate(setting, model)
        setting = replace(setting, policy=policy)
    setting.policy.save(setting.folder.policy)
    result["policy"] = setting.policy.to_dict()
    result["test"] = testing.test(setting, model)
    if asked.output.export_onnx:
        result["onnx"] = exporting.export(setting, model, asked.output.export_onnx, "onnx")
    if asked.compression.compress:
        # Its layers have other sizes than the architecture's, so that weights alone would not bring it back.
        result["bundle"] = exporting.export(setting, model, "bundle", "bundle")
    setting.folder.write(setting.folder.results, result)
    setting.journal.say(f"Results: {setting.folder.results}")
    return result
