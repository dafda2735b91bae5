"""The conformance kit: what every criterion and every exit head keeps to, to be run on one of your own.

`check_criterion` and `check_head` run every check of a family and raise AssertionError at the first that fails, naming
what was expected. The checks are public one by one too (`CRITERION_CHECKS`, `HEAD_CHECKS`), for a test per check.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass

import torch
from torch import Tensor, nn

from offramp.criteria import Criterion, criterion_from_dict
from offramp.errors import AttachError, PolicyError
from offramp.heads import ExitHead

CLASSES = (2, 3, 10, 100)
EARLY_EXITS = 2
"""A criterion is looked at behind so many exits, in a model with so many before the last."""
FEATURES = {"vectors": (6, 5), "tokens": (6, 7, 5), "maps": (6, 5, 9, 8), "small maps": (6, 5, 3, 2)}
"""Shapes, batch first, that a head may meet at a cut; it reads some of them and refuses the others."""


def check_criterion(criterion: Criterion) -> None:
    """Runs all of `CRITERION_CHECKS` on one criterion.

    Args:
        criterion: for any model, or for one of two early exits and 10 classes.

    Raises:
        AssertionError: it breaks one of them.

    Example:
        >>> from offramp.criteria import Margin
        >>> check_criterion(Margin())
    """
    for check in CRITERION_CHECKS:
        check(criterion)


def check_head(head_class: type[ExitHead]) -> None:
    """Runs all of `HEAD_CHECKS` on one class of heads.

    Raises:
        AssertionError: it breaks one of them.

    Example:
        >>> from offramp.heads import PooledLinear
        >>> check_head(PooledLinear)
    """
    for check in HEAD_CHECKS:
        check(head_class)


def scores_have_one_value_per_row(criterion: Criterion) -> None:
    """`[n, classes]` gives `[n]` of the same dtype, for any number of rows and classes."""
    for logits in _batches(criterion):
        score = _score(criterion, logits)
        _require(score.shape == logits.shape[:1], f"logits {list(logits.shape)} give scores {list(score.shape)}")
        _require(score.dtype == logits.dtype, f"{logits.dtype} logits give {score.dtype} scores")
        _require(bool((score < math.inf).all()), f"finite logits give the scores {score.tolist()}")


def answers_are_logits(criterion: Criterion) -> None:
    """`answer` gives `[n, classes]` of the same dtype: the exit's own logits, unless the criterion `combines`."""
    for logits in _batches(criterion):
        answer = _placed(criterion).answer(logits, _earlier(criterion, logits))
        _require(answer.shape == logits.shape, f"logits {list(logits.shape)} give answers {list(answer.shape)}")
        _require(answer.dtype == logits.dtype, f"{logits.dtype} logits give {answer.dtype} answers")
        _require(bool(answer.isfinite().all()), "finite logits give answers that are not")
        _require(criterion.combines or answer is logits, "it answers otherwise than the exit, but does not say so")
    _require(criterion.uses_earlier or not criterion.combines, "what combines exits must read the earlier ones")


def judging_is_scoring_and_answering(criterion: Criterion) -> None:
    """`judge` gives what `score` and `answer` give."""
    for logits in _batches(criterion):
        score, answer = _outcome(criterion, logits)
        _require(_close(score, _score(criterion, logits)), "judge() scores otherwise than score()")
        own = _placed(criterion).answer(logits, _earlier(criterion, logits))
        _require(_close(answer, own), "judge() answers otherwise than answer()")


def scores_stay_on_the_device(criterion: Criterion) -> None:
    """Nothing is made on, or copied to, another device: checked on torch's device without data."""
    logits = _logits(4, 10).to("meta")
    answer = _placed(criterion).answer(logits, _earlier(criterion, logits))
    for what, tensor in (("scores", _score(criterion, logits)), ("answers", answer)):
        _require(tensor.device.type == "meta", f"logits on 'meta' give {what} on '{tensor.device}'")


def surer_logits_score_higher(criterion: Criterion) -> None:
    """Raising the leading class at all exits never lowers a score that is `graded`; nor do logits change by scoring."""
    logits = _logits(32, 10).double()
    kept = logits.clone()
    leading = nn.functional.one_hot(logits.argmax(dim=-1), 10)
    scores = [_score(criterion, logits + step * leading) for step in (0.0, 0.5, 1.0, 2.0, 4.0)]
    _score(criterion, logits)
    _require(torch.equal(logits, kept), "score() changes the logits in place")
    for less, more in itertools.pairwise(scores if criterion.graded else ()):
        _require(bool((more >= less - 1e-12).all()), "sharper logits score lower: larger must mean surer")


def scores_depend_on_the_row_alone(criterion: Criterion) -> None:
    """A row scores the same alone, in a batch, and in any order."""
    logits = _logits(9, 10)
    together, alone = _outcome(criterion, logits), [_outcome(criterion, logits[i : i + 1]) for i in range(9)]
    order = torch.arange(8, -1, -1)
    turned = _outcome(criterion, logits[order])
    for i, what in enumerate(("scores", "is answered")):
        one_by_one = torch.cat([outcome[i] for outcome in alone])
        _require(_close(one_by_one, together[i]), f"a row {what} otherwise when it is alone in the batch")
        _require(_close(turned[i], together[i][order]), f"a row {what} otherwise when the batch is in another order")


def unusable_logits_score_nan(criterion: Criterion) -> None:
    """NaN and +inf give NaN, which no threshold lets leave; the other rows are not touched."""
    for value in (float("nan"), float("inf")):
        logits = _logits(5, 10)
        expected = _score(criterion, logits)
        logits[2, 7] = value
        score = _score(criterion, logits)
        _require(bool(score[2].isnan()), f"a logit of {value} scores {score[2].item()}, not NaN")
        others = torch.arange(5) != 2
        _require(_close(score[others], expected[others]), f"a logit of {value} changes the other rows' scores")


def scores_can_be_exported(criterion: Criterion) -> None:
    """They are tensor operations: torch.export takes them with a free batch size, and gives the same."""
    logits = _logits(5, 10)
    earlier = _earlier(criterion, logits)
    count = len(earlier)
    rows = torch.export.Dim("rows", min=1, max=64)
    inputs = (logits, *earlier)
    dynamic = {"logits": tuple({0: rows} for _ in range(1 + count))}
    program = torch.export.export(_Scoring(criterion), inputs, dynamic_shapes=dynamic)
    for size in (2, 9):
        other = _logits(size, 10)
        outcomes = zip(program.module()(other, *_earlier(criterion, other)), _outcome(criterion, other), strict=True)
        for got, expected in outcomes:
            _require(_close(got, expected), f"what is exported differs from the criterion at {size} rows")


def grid_runs_from_strict_to_loose(criterion: Criterion) -> None:
    """Thresholds fall strictly, as many as asked for at most, and let no fewer rows leave towards the end."""
    for classes in _class_counts(criterion):
        score = _score(criterion, 4 * _logits(200, classes).double())
        for size in (1, 2, 50):
            grid = criterion.grid(classes, size)
            _require(1 <= len(grid) <= size, f"grid({classes}, {size}) has {len(grid)} thresholds")
            _require(
                all(a > b for a, b in itertools.pairwise(grid)),
                f"grid({classes}, {size}) does not fall strictly: {grid[:4]}...",
            )
        loosest = criterion.grid(classes, 50)[-1]
        _require(bool((score > loosest).any()), f"no row ever passes the loosest threshold {loosest}")


def criterion_survives_json(criterion: Criterion) -> None:
    """It is a frozen dataclass, equal to itself after `to_dict`, JSON and `criterion_from_dict`."""
    _require(is_dataclass(criterion), "it is no dataclass, so its parameters cannot be written")
    hash(criterion)
    again = criterion_from_dict(json.loads(json.dumps(criterion.to_dict())))
    _require(again == criterion, f"{criterion!r} comes back from JSON as {again!r}")


CRITERION_CHECKS: tuple[Callable[[Criterion], None], ...] = (
    scores_have_one_value_per_row,
    answers_are_logits,
    judging_is_scoring_and_answering,
    scores_stay_on_the_device,
    surer_logits_score_higher,
    scores_depend_on_the_row_alone,
    unusable_logits_score_nan,
    scores_can_be_exported,
    grid_runs_from_strict_to_loose,
    criterion_survives_json,
)
"""Every check that a criterion passes."""


def head_reads_or_refuses(head_class: type[ExitHead]) -> None:
    """At least one kind of features is read; any other is refused with AttachError, not with a crash."""
    read = [kind for kind, shape in FEATURES.items() if _head(head_class, shape, 3) is not None]
    _require(bool(read), f"it refuses everything: {', '.join(FEATURES)}")
    try:
        head_class.for_features(torch.zeros(6), 3)
    except AttachError:
        return
    raise AssertionError("features without any dimension but the batch must be refused with AttachError")


def head_gives_logits(head_class: type[ExitHead]) -> None:
    """`[n, ...]` gives `[n, classes]` in the features' dtype, for any number of rows."""
    for shape, head in _heads(head_class):
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            for rows in (1, 6):
                features = _features(shape)[:rows].to(dtype)
                logits = head.to(dtype)(features)
                _require(logits.shape == (rows, 3), f"features {list(features.shape)} give {list(logits.shape)}")
                _require(logits.dtype == dtype, f"{dtype} features give {logits.dtype} logits")


def head_stays_on_the_device(head_class: type[ExitHead]) -> None:
    """It moves as a module moves, and reads the shape of features only: both checked on a device without data."""
    for shape, _ in _heads(head_class):
        features = _features(shape).to("meta")
        logits = head_class.for_features(features, 3).to("meta")(features)
        _require(logits.device.type == "meta", f"features on 'meta' give logits on '{logits.device}'")


def head_treats_rows_apart(head_class: type[ExitHead]) -> None:
    """In evaluation mode a row gives the same alone; NaN in one row reaches its logits and nobody else's."""
    for shape, head in _heads(head_class):
        features = _features(shape)
        kept, together = features.clone(), head.eval()(features)
        _require(torch.equal(features, kept), "forward() changes the features in place")
        alone = torch.cat([head(features[i : i + 1]) for i in range(len(features))])
        _require(_close(alone, together), f"a row of {list(shape)} gives other logits when it is alone")
        features[2].fill_(float("nan"))
        spoiled, others = head(features), torch.arange(len(features)) != 2
        _require(bool(spoiled[2].isnan().any()), "features of NaN give finite logits, which might leave early")
        _require(_close(spoiled[others], together[others]), "NaN in one row changes the others' logits")


def head_is_reproducible(head_class: type[ExitHead]) -> None:
    """The same seed gives the same weights, and a state dict carries all of them."""
    for shape, head in _heads(head_class):
        again, other = _head(head_class, shape, 3), _head(head_class, shape, 3, seed=1)
        features = _features(shape)
        if again is None or other is None:
            raise AssertionError(f"features {list(shape)} are read once and refused the next time")
        _require(torch.equal(again(features), head(features)), "the same seed gives other weights")
        _require(not torch.equal(other(features), head(features)), "another seed gives the same weights")
        other.load_state_dict(head.state_dict())
        _require(torch.equal(other(features), head(features)), "state_dict() does not carry all of it")


def head_can_be_trained(head_class: type[ExitHead]) -> None:
    """A gradient reaches the features, and every parameter at one kind of features at least."""
    reached: dict[str, bool] = {}
    for shape, head in _heads(head_class):
        features = _features(shape).requires_grad_()
        loss = nn.functional.cross_entropy(head.train()(features), torch.arange(len(features)) % 3)
        loss.backward()  # type: ignore[no-untyped-call]
        _require(features.grad is not None, f"no gradient reaches features {list(shape)}")
        for name, parameter in head.named_parameters():
            here = parameter.grad is not None and bool((parameter.grad != 0).any())
            reached[name] = reached.get(name, False) or here
    idle = [name for name, found in reached.items() if not found]
    _require(not idle, f"no gradient ever reaches the parameters {idle}")


def head_can_be_exported(head_class: type[ExitHead]) -> None:
    """torch.export takes it with a free batch size, and gives the same."""
    for shape, head in _heads(head_class):
        features = _features(shape)
        rows = torch.export.Dim("rows", min=1, max=64)
        program = torch.export.export(head.eval(), (features,), dynamic_shapes=({0: rows},))
        for size in (2, 5):
            got = program.module()(features[:size])
            _require(_close(got, head(features[:size])), f"the exported head differs at {size} rows")


HEAD_CHECKS: tuple[Callable[[type[ExitHead]], None], ...] = (
    head_reads_or_refuses,
    head_gives_logits,
    head_stays_on_the_device,
    head_treats_rows_apart,
    head_is_reproducible,
    head_can_be_trained,
    head_can_be_exported,
)
"""Every check that a class of heads passes."""


class _Scoring(nn.Module):
    """A criterion as a module, which is what torch.export takes."""

    def __init__(self, criterion: Criterion) -> None:
        super().__init__()
        self.criterion = _placed(criterion)

    def forward(self, *logits: Tensor) -> tuple[Tensor, Tensor]:
        score, answer = self.criterion.judge(logits[0], logits[1:])
        return score, answer + 0


def _logits(rows: int, classes: int) -> Tensor:
    return torch.randn(rows, classes, generator=torch.Generator().manual_seed(rows))


def _batches(criterion: Criterion) -> list[Tensor]:
    """Logits of all the sizes and types that are looked at."""
    return [
        _logits(rows, classes).to(dtype)
        for classes in _class_counts(criterion)
        for rows in (1, 5)
        for dtype in (torch.float32, torch.float64)
    ]


def _class_counts(criterion: Criterion) -> list[int]:
    """The numbers of classes that the criterion takes; all of them, unless it was made for one."""
    taken = []
    for classes in CLASSES:
        with contextlib.suppress(PolicyError):
            criterion.check(EARLY_EXITS, classes)
            taken.append(classes)
    _require(10 in taken, f"check({EARLY_EXITS}, 10) refuses a model of {EARLY_EXITS} early exits and 10 classes")
    return taken


def _placed(criterion: Criterion) -> Criterion:
    return criterion.at(EARLY_EXITS)


def _score(criterion: Criterion, logits: Tensor) -> Tensor:
    return _placed(criterion).score(logits, _earlier(criterion, logits))


def _outcome(criterion: Criterion, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Scores `[n]` and answers `[n, classes]`."""
    return _placed(criterion).judge(logits, _earlier(criterion, logits))


def _earlier(criterion: Criterion, logits: Tensor) -> Sequence[Tensor]:
    """Two earlier exits that agree with this one, the first of them less sure; none where they are not read."""
    return (0.5 * logits, 0.9 * logits) if criterion.uses_earlier else ()


def _features(shape: Sequence[int]) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def _head(head_class: type[ExitHead], shape: Sequence[int], classes: int, seed: int = 0) -> ExitHead | None:
    """A head for features of this shape, or None where it refuses them as it should."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            return head_class.for_features(_features(shape), classes)
        except AttachError:
            return None


def _heads(head_class: type[ExitHead]) -> list[tuple[Sequence[int], ExitHead]]:
    """Every shape that the class reads, with a fresh head for it."""
    built = [(shape, _head(head_class, shape, 3)) for shape in FEATURES.values()]
    return [(shape, head) for shape, head in built if head is not None]


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-4, atol=1e-6)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)
