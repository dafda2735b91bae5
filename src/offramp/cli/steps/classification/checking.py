"""What can be found wrong with a command line before anything is loaded; all of it is named at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from offramp.cli.classify_options import ClassifyOptions, DistillationOptions
from offramp.cli.failures import UsageError

THRESHOLDS, WEIGHTS = "--earlyexit_thresholds", "--earlyexit_lossweights"


@dataclass(frozen=True)
class Places:
    """The early exits of the network that is asked for.

    Attributes:
        arch: its name.
        cuts: modules behind which they are, earliest first; or shares of the MACs, as given.
        twin: name of the same network with exits, for one without; None where there is none.
    """

    arch: str
    cuts: tuple[str, ...]
    twin: str | None = None


def check(options: ClassifyOptions, places: Places) -> None:
    """Refuses what cannot be done.

    Raises:
        UsageError: naming every problem, what is allowed and what to do.
    """
    problems = [
        *_exit_problems(options, places),
        *_number_problems(options),
        *_start_problems(options),
        *_distillation_problems(options.distillation),
    ]
    if problems:
        raise UsageError("\n".join(problems))


def _exit_problems(options: ClassifyOptions, places: Places) -> Iterator[str]:
    given = {THRESHOLDS: options.exits.thresholds, WEIGHTS: options.exits.loss_weights}
    if not places.cuts:
        yield from _plain_problems(options, given, places)
        return
    yield from _missing_problems(options, given, places)
    for flag, values in given.items():
        if values is not None:
            yield from _count_problem(flag, values, places)
    yield from _weight_problems(options.exits.loss_weights or ())
    yield from _threshold_problems(options)


def _plain_problems(options: ClassifyOptions, given: dict[str, list[float] | None], places: Places) -> Iterator[str]:
    flags = [flag for flag, values in given.items() if values]
    if options.exits.calibrate:
        flags.append("--calibrate")
    if options.exits.report_label_oracle:
        flags.append("--report-label-oracle")
    if flags:
        twin = f"--arch {places.twin}, or " if places.twin else ""
        yield f"{' and '.join(flags)}: {places.arch} has no early exits. Use {twin}--exits with module names."


def _missing_problems(options: ClassifyOptions, given: dict[str, list[float] | None], places: Places) -> Iterator[str]:
    if options.output.summary:
        return
    needed = {
        THRESHOLDS: not options.exits.calibrate,
        WEIGHTS: not (options.training.evaluate or options.compression.sense),
    }
    missing = [flag for flag, values in given.items() if values is None and needed[flag]]
    if missing:
        yield f"{' and '.join(missing)}: missing. {_described(places)}; give one number for each, earliest first."


def _count_problem(flag: str, values: Sequence[float], places: Places) -> Iterator[str]:
    if len(values) != len(places.cuts):
        listed = " ".join(f"{value:g}" for value in values)
        yield f"{flag} {listed}: {len(values)} numbers. {_described(places)}; give one number for each, earliest first."


def _described(places: Places) -> str:
    count = len(places.cuts)
    exits = "1 early exit" if count == 1 else f"{count} early exits"
    return f"{places.arch} has {exits}, behind {', '.join(places.cuts)}"


def _weight_problems(weights: Sequence[float]) -> Iterator[str]:
    for weight in weights:
        if not (math.isfinite(weight) and weight >= 0):
            yield f"{WEIGHTS}: {weight:g} must be a number of at least 0."
    if math.fsum(weights) >= 1:
        yield (
            f"{WEIGHTS}: they sum to {math.fsum(weights):g}; the sum must be below 1, because the final exit gets the "
            "rest."
        )


def _threshold_problems(options: ClassifyOptions) -> Iterator[str]:
    for threshold in options.exits.thresholds or ():
        if math.isnan(threshold):
            yield f"{THRESHOLDS}: nan is no threshold. Nobody leaves at 0, as no entropy is below it."
        elif options.exits.criterion == "entropy" and threshold < 0:
            yield f"{THRESHOLDS}: {threshold:g} is below 0, which no entropy is. Nobody leaves at 0."


def _number_problems(options: ClassifyOptions) -> Iterator[str]:
    training, images = options.training, options.images
    least = {
        "--epochs": (training.epochs, 1),
        "--batch-size": (training.batch_size, 1),
        "--print-freq": (training.print_freq, 1),
        "--workers": (images.workers, 0),
        "--num-best-scores": (options.output.num_best_scores, 1),
        "--wd": (training.weight_decay, 0),
        "--kd-start-epoch": (options.distillation.start_epoch, 0),
    }
    yield from (f"{flag} {value:g}: give at least {low}." for flag, (value, low) in least.items() if not value >= low)
    if not (math.isfinite(training.lr) and training.lr > 0):
        yield f"--lr {training.lr:g}: give a number above 0."
    if not 0 <= training.momentum < 1:
        yield f"--momentum {training.momentum:g}: give a number of at least 0 and below 1."
    if not 0 <= images.validation_split < 1:
        yield f"--vs {images.validation_split:g}: give a share of at least 0 and below 1."
    shares = {"--etrs": images.train_size, "--evs": images.validation_size, "--etes": images.test_size}
    yield from (f"{flag} {v:g}: give a share above 0, at most 1." for flag, v in shares.items() if not 0 < v <= 1)


def _start_problems(options: ClassifyOptions) -> Iterator[str]:
    network, calibrate = options.network, options.exits.calibrate
    starts = {
        "--resume-from": network.resume_from,
        "--exp-load-weights-from": network.load_weights_from,
        "--pretrained": network.pretrained,
    }
    given = [flag for flag, value in starts.items() if value]
    if len(given) > 1:
        yield f"{' and '.join(given)}: give one of them; each says where the weights come from."
    if network.reset_optimizer and network.resume_from is None:
        yield "--reset-optimizer: goes with --resume-from, whose weights it takes."
    held_out = {
        "--calibrate": calibrate,
        "--compress": options.compression.compress,
        "--sense": options.compression.sense,
    }
    for flag, value in held_out.items():
        if value and options.images.validation_split == 0:
            yield f"{flag} with --vs 0: it goes by held-out images; hold some out, e.g. --vs 0.1."
    if options.exits.report_label_oracle and options.exits.criterion != "entropy":
        yield "--report-label-oracle: Distiller's gate is one of the entropy's scale; leave --criterion out."
    if options.compression.compress and options.training.evaluate:
        yield "--compress with --evaluate: compressing trains; leave one of them out."


def _distillation_problems(asked: DistillationOptions) -> Iterator[str]:
    if asked.teacher is None:
        if asked != DistillationOptions():
            yield "--kd-...: no teacher. Name one with --kd-teacher, or leave these flags out."
        return
    if asked.resume is None and not asked.pretrained:
        yield f"--kd-teacher {asked.teacher}: a teacher needs weights; give --kd-resume FILE, or --kd-pretrained."
    if asked.resume is not None and asked.pretrained:
        yield "--kd-resume and --kd-pretrained: give one of them; each says where the teacher's weights come from."
    weights = {"--kd-dw": asked.distill_weight, "--kd-sw": asked.student_weight, "--kd-tw": asked.teacher_weight}
    yield from (f"{flag} {v:g}: give a number of at least 0." for flag, v in weights.items() if not 0 <= v < math.inf)
    if not 0 < asked.temperature < math.inf:
        yield f"--kd-temp {asked.temperature:g}: give a number above 0."
