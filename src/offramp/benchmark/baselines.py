"""Baselines without exits, printed beside the regimes: what the same samples give a method of yesterday."""

from __future__ import annotations

from collections.abc import Callable

from offramp.benchmark.sources import Parts
from offramp.errors import BenchmarkError, MissingExtraError, closest


def tfidf_svc(parts: Parts) -> float:
    """Test accuracy of a linear support-vector machine on TF-IDF features of the **whole** documents.

    Raises:
        BenchmarkError: the samples have no texts.
        MissingExtraError: scikit-learn is not installed.
    """
    if not parts.train.texts:
        raise BenchmarkError("The baseline 'tfidf-svc' reads texts, and this data set has none. Leave it out.")
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise MissingExtraError(
            "The baseline 'tfidf-svc' needs scikit-learn, which is not installed. Run: pip install 'offramp[bench]'"
        ) from error
    features = TfidfVectorizer(sublinear_tf=True)
    machine = LinearSVC().fit(features.fit_transform(parts.train.texts), parts.train.labels.numpy())
    return float(machine.score(features.transform(parts.test.texts), parts.test.labels.numpy()))


BASELINES: dict[str, Callable[[Parts], float]] = {"tfidf-svc": tfidf_svc}


def check_baseline(name: str) -> None:
    """Refuses a name that is no baseline.

    Raises:
        BenchmarkError: naming the closest.
    """
    if name not in BASELINES:
        raise BenchmarkError(f"there is no baseline '{name}'. {closest(name, BASELINES)}")
