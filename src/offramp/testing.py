"""The conformance kit: what every criterion and every exit head keeps to, to be run on one of your own.

`check_criterion` and `check_head` run every check of a family and raise AssertionError at the first that fails, naming
what was expected. The checks are public one by one too (`CRITERION_CHECKS`, `HEAD_CHECKS`), for a test per check.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass

import torch
from torch import Tensor, nn

from offramp.criteria import Criterion, criterion_from_dict
from offramp.errors import AttachError
from offramp.heads import ExitHead

CLASSES = (2, 3, 10, 100)
FEATURES = {"vectors": (6, 5), "tokens": (6, 7, 5), "maps": (6, 5, 9, 8), "small maps": (6, 5, 3, 2)}
"""Shapes, batch first, that a head may meet at a cut; it reads some of them and refuses the others."""


def check_criterion(criterion: Criterion) -> None:
    """Runs all of `CRITERION_CHECKS` on one criterion.

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
    for classes in CLASSES:
        for rows in (1, 5):
            for dtype in (torch.float32, torch.float64):
                logits = _logits(rows, classes).to(dtype)
                score = criterion.score(logits, _earlier(criterion, logits))
                _require(score.shape == (rows,), f"logits {list(logits.shape)} give scores {list(score.shape)}")
                _require(score.dtype == dtype, f"{dtype} logits give {score.dtype} scores")
                _require(bool(score.isfinite().all()), f"finite logits give the scores {score.tolist()}")


def scores_stay_on_the_device(criterion: Criterion) -> None:
    """Nothing is made on, or copied to, another device: checked on torch's device without data."""
    logits = _logits(4, 10).to("meta")
    score = criterion.score(logits, _earlier(criterion, logits))
    _require(score.device.type == "meta", f"logits on 'meta' give scores on '{score.device}'")


def surer_logits_score_higher(criterion: Criterion) -> None:
    """Scaling logits up, which sharpens their softmax, never lowers the score; nor do logits change by scoring."""
    logits = _logits(32, 10).double()
    kept = logits.clone()
    scores = [criterion.score(s * logits, _earlier(criterion, s * logits)) for s in (0.25, 0.5, 1.0, 2.0, 4.0)]
    criterion.score(logits, _earlier(criterion, logits))
    _require(torch.equal(logits, kept), "score() changes the logits in place")
    for less, more in itertools.pairwise(scores):
        _require(bool((more >= less - 1e-12).all()), "sharper logits score lower: larger must mean surer")


def scores_depend_on_the_row_alone(criterion: Criterion) -> None:
    """A row scores the same alone, in a batch, and in any order."""
    logits = _logits(9, 10)
    earlier = _earlier(criterion, logits)
    together = criterion.score(logits, earlier)
    alone = torch.cat([criterion.score(logits[i : i + 1], [e[i : i + 1] for e in earlier]) for i in range(9)])
    _require(_close(alone, together), "a row scores otherwise when it is alone in the batch")
    order = torch.arange(8, -1, -1)
    turned = criterion.score(logits[order], [e[order] for e in earlier])
    _require(_close(turned, together[order]), "a row scores otherwise when the batch is in another order")


def unusable_logits_score_nan(criterion: Criterion) -> None:
    """NaN and +inf give NaN, which no threshold lets leave; the other rows are not touched."""
    for value in (float("nan"), float("inf")):
        logits = _logits(5, 10)
        expected = criterion.score(logits, _earlier(criterion, logits))
        logits[2, 7] = value
        score = criterion.score(logits, _earlier(criterion, logits))
        _require(bool(score[2].isnan()), f"a logit of {value} scores {score[2].item()}, not NaN")
        others = torch.arange(5) != 2
        _require(_close(score[others], expected[others]), f"a logit of {value} changes the other rows' scores")


def scores_can_be_exported(criterion: Criterion) -> None:
    """`score` is tensor operations: torch.export takes it with a free batch size, and gives the same."""
    logits = _logits(5, 10)
    earlier = _earlier(criterion, logits)
    count = len(earlier)
    rows = torch.export.Dim("rows", min=1, max=64)
    inputs = (logits, *earlier)
    dynamic = {"logits": tuple({0: rows} for _ in range(1 + count))}
    program = torch.export.export(_Scoring(criterion), inputs, dynamic_shapes=dynamic)
    for size in (2, 9):
        other = _logits(size, 10)
        expected = criterion.score(other, _earlier(criterion, other))
        got = program.module()(other, *_earlier(criterion, other))
        _require(_close(got, expected), f"the exported score differs from score() at {size} rows")


def grid_runs_from_strict_to_loose(criterion: Criterion) -> None:
    """Thresholds fall strictly, as many as asked for at most, and let no fewer rows leave towards the end."""
    for classes in CLASSES:
        logits = 4 * _logits(200, classes).double()
        score = criterion.score(logits, _earlier(criterion, logits))
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
        self.criterion = criterion

    def forward(self, *logits: Tensor) -> Tensor:
        return self.criterion.score(logits[0], logits[1:])


def _logits(rows: int, classes: int) -> Tensor:
    return torch.randn(rows, classes, generator=torch.Generator().manual_seed(rows))


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
