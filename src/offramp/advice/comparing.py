"""Figures of many choices on the same samples, with intervals and paired differences by resampling the samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from offramp.advice.crossing import Crossed
from offramp.advice.findings import Interval
from offramp.calibrators.scoring import Floats
from offramp.policy import always
from offramp.recording import Recording

RESAMPLES = 400
TIE = 1e-12


@dataclass(frozen=True, eq=False)
class Resampled:
    """A figure of several choices.

    Attributes:
        values: `[choices]` on the samples.
        draws: `[RESAMPLES, choices]` on the resampled samples, the same ones for every choice.
    """

    values: Floats
    draws: Floats

    def interval(self, choice: int, confidence: float) -> Interval:
        """Normal interval with the standard deviation of the draws."""
        value, reach = float(self.values[choice]), _quantile(confidence) * float(self.draws[:, choice].std())
        return Interval(value, value - reach, value + reach)

    def equal(self, first: int, second: int, confidence: float) -> bool:
        """Whether the interval of the paired difference holds 0."""
        spread = float((self.draws[:, first] - self.draws[:, second]).std())
        return bool(abs(self.values[first] - self.values[second]) <= _quantile(confidence) * spread + TIE)


@dataclass(frozen=True, eq=False)
class Contest:
    """All choices on the same samples.

    Attributes:
        gain: accuracy above that of the exits alone, mixed at random, at the same mean MACs.
        drop: accuracy below that of the plain network.
        share: mean MACs as a share of the plain network's.
        alone: accuracy of each exit alone.
        static_macs: `[exits]` MACs of each exit alone.
    """

    gain: Resampled
    drop: Resampled
    share: Resampled
    alone: Resampled
    static_macs: Floats

    @classmethod
    def of(cls, recording: Recording, crossed: Sequence[Crossed], seed: int) -> Contest:
        """Resamples the samples `RESAMPLES` times."""
        statics = recording.correct.numpy()
        macs = np.array([float(recording.costs(always(exit=k))[k]) for k in range(recording.exits)])
        figures = np.concatenate([statics, [c.right for c in crossed], [c.macs for c in crossed]]).astype(float)
        means = figures.mean(axis=1)[None], _resampled(figures, seed)
        parts = [np.split(m, [len(statics), len(statics) + len(crossed)], axis=1) for m in means]

        def figure(compute: object) -> Resampled:
            values, draws = (compute(*part) for part in parts)  # type: ignore[operator]
            return Resampled(values[0], draws)

        return cls(
            gain=figure(lambda alone, right, spent: right - _mixed(macs, alone, spent)),
            drop=figure(lambda alone, right, spent: alone[:, -1:] - right),
            share=figure(lambda alone, right, spent: spent / recording.plain_macs),
            alone=figure(lambda alone, right, spent: alone),
            static_macs=macs,
        )

    def pays(self, confidence: float) -> bool:
        """Whether some choice gains something, with all of them looked at (Bonferroni)."""
        choices = len(self.gain.values)
        strict = 1 - (1 - confidence) / choices
        return any(self.gain.interval(i, strict).low > 0 for i in range(choices))


def _resampled(figures: Floats, seed: int) -> Floats:
    """`[RESAMPLES, figures]` means of figures `[figures, n]` over n samples drawn with replacement."""
    generator = np.random.default_rng(seed)
    n = figures.shape[1]
    rows = []
    for _ in range(RESAMPLES):
        counts = np.bincount(generator.integers(n, size=n), minlength=n)
        rows.append(figures @ counts / n)
    return np.stack(rows)


def _mixed(macs: Floats, alone: Floats, spent: Floats) -> Floats:
    """`[draws, choices]` best accuracy of exits alone, mixed at random, at mean MACs `spent`."""
    return np.stack([np.interp(s, *_hull(macs, a)) for a, s in zip(alone, spent, strict=True)])


def _hull(macs: Floats, accuracy: Floats) -> tuple[Floats, Floats]:
    """Corners of the least concave and growing curve above the points `(macs, accuracy)`."""
    corners: list[tuple[float, float]] = []
    for point in sorted(zip(macs.tolist(), accuracy.tolist(), strict=True)):
        if corners and point[1] <= corners[-1][1]:
            continue
        while len(corners) > 1 and _slope(corners[-2], corners[-1]) <= _slope(corners[-1], point):
            corners.pop()
        corners.append(point)
    x, y = zip(*corners, strict=True)
    return np.array(x), np.array(y)


def _slope(first: tuple[float, float], second: tuple[float, float]) -> float:
    run = second[0] - first[0]
    return (second[1] - first[1]) / run if run > 0 else np.inf


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)
