"""Configurations: those of NNCF's manual run as they are written, and every mistake is named at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from offramp.compression import AdaptiveCompressionLevel, Configuration, ConfigurationError, EarlyExit
from offramp.compression.configuration import configuration_of
from offramp.errors import CompressionError

MANUAL = (Path(__file__).parents[4] / "examples" / "nncf_early_exit.json").read_text(encoding="utf8").strip()
"""The example of NNCF's manual, which failed NNCF's own validation: it says weight_importance and input_infos."""

LIMIT = {"maximal_relative_accuracy_degradation": 1.0}


def early_exit(**params: Any) -> dict[str, Any]:
    return {"mode": "early_exit", "params": {"maximal_total_epochs": 9, **LIMIT, **params}}


def problems_of(data: Any) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as caught:
        Configuration.from_dict(data)
    for path, message in caught.value.problems:
        assert f"{path}: {message}" in str(caught.value)
    return dict(caught.value.problems)


def test_the_manuals_example_is_read_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(MANUAL)
    configuration = Configuration.load(tmp_path / "config.json")
    (pruning,) = configuration.algorithms
    assert (pruning.pruning_init, pruning.pruning_target, pruning.filter_importance) == (0.05, 0.1, "geometric_median")
    assert configuration.loop == EarlyExit(maximal_relative_accuracy_degradation=1.0, maximal_total_epochs=100)
    assert configuration.example.shape == (1, 2, 224, 224)


def test_json5_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json5").write_text("// for the small one\n" + MANUAL.replace('"mode"', "mode")[:-1] + ",}")
    assert Configuration.load(tmp_path / "config.json5").loop is not None


def test_one_algorithm_may_stand_without_a_list(fakes: None) -> None:
    assert len(Configuration.from_dict({"compression": {"algorithm": "thinning"}}).algorithms) == 1


def test_the_adaptive_loop_is_read(fakes: None) -> None:
    params = {"patience_epochs": 2, "initial_training_phase_epochs": 4, **LIMIT}
    data = {
        "compression": {"algorithm": "thinning"},
        "accuracy_aware_training": {"mode": "adaptive_compression_level", "params": params},
    }
    assert Configuration.from_dict(data).loop == AdaptiveCompressionLevel(**params)


def test_scopes_of_the_top_level_reach_every_algorithm(fakes: None) -> None:
    data = {
        "ignored_scopes": "{re}head.*",
        "target_scopes": ["body"],
        "compression": [{"algorithm": "thinning", "ignored_scopes": ["stem"]}, {"algorithm": "rounding"}],
    }
    thinning, rounding = Configuration.from_dict(data).algorithms
    assert thinning.ignored_scopes == ("{re}head.*", "stem")
    assert rounding.target_scopes == ("body",)


def test_all_mistakes_are_named_at_once_with_their_paths(fakes: None) -> None:
    found = problems_of(
        {
            "compression": [
                {"algorithm": "thinning", "start": 1.5, "params": {"targt": 0.2, "steps": 1.5, "kind": "medium"}},
                {"algorithm": "thining"},
                {"algorithm": "thinning"},
                {"algorithm": "rounding", "weights": {"bits": 2}, "ignored_scope": "x"},
            ],
            "accuracy_aware_training": early_exit(
                maximal_total_epochs=0,
                maximal_absolute_accuracy_degradation=1,
                maximal_relative_accuracy_degradation=-1,
            ),
            "input_inf": {},
            "target_device": "TPU",
        }
    )
    assert "it is 1.5" in found["compression[0].start"]
    assert "closest: 'params.target'" in found["compression[0].params.targt"]
    assert "whole number" in found["compression[0].params.steps"]
    assert "'small', 'large'" in found["compression[0].params.kind"]
    assert "Closest: 'thinning'" in found["compression[1].algorithm"]
    assert "at least 4" in found["compression[3].weights.bits"]
    assert "closest: 'ignored_scopes'" in found["compression[3].ignored_scope"]
    assert "at least 1; it is 0" in found["accuracy_aware_training.params.maximal_total_epochs"]
    assert "it is -1" in found["accuracy_aware_training.params.maximal_relative_accuracy_degradation"]
    assert "excludes" in found["accuracy_aware_training.params.maximal_absolute_accuracy_degradation"]
    assert "closest: 'input_info'" in found["input_inf"]
    assert "'CPU'" in found["target_device"]


@pytest.mark.parametrize(
    ("training", "path", "says"),
    [
        ({}, "accuracy_aware_training.mode", "'early_exit'"),
        ({"mode": "early_exit"}, "accuracy_aware_training.params", "is missing"),
        ({"mode": "early_exit", "params": {}}, "accuracy_aware_training.params", "no limit"),
        ({"mode": "early_exit", "params": LIMIT}, "accuracy_aware_training.params.maximal_total_epochs", "is missing"),
        ({"mode": "early", "params": {}}, "accuracy_aware_training.mode", "Closest: 'early_exit'"),
        ([], "accuracy_aware_training", "must be an object"),
        (early_exit(maximal_total_epochs=1.5), "accuracy_aware_training.params.maximal_total_epochs", "it is 1.5"),
        (
            early_exit(maximal_absolute_accuracy_degradation=1),
            "accuracy_aware_training.params.maximal_absolute_accuracy_degradation",
            "give one of the two",
        ),
    ],
)
def test_mistakes_of_the_loop_are_named(training: Any, path: str, says: str, fakes: None) -> None:
    found = problems_of({"compression": {"algorithm": "thinning"}, "accuracy_aware_training": training})
    assert says in found[path]


def test_the_same_algorithm_twice_is_refused(fakes: None) -> None:
    found = problems_of({"compression": [{"algorithm": "thinning"}, {"algorithm": "thinning"}]})
    assert "twice" in found["compression[1].algorithm"]


def test_a_search_needs_exactly_one_rate_to_move(fakes: None) -> None:
    training = {"mode": "adaptive_compression_level", "params": LIMIT}
    alone = problems_of({"compression": {"algorithm": "rounding"}, "accuracy_aware_training": training})
    assert "none of those given ('rounding')" in alone["accuracy_aware_training.mode"]
    both = [{"algorithm": "filter_pruning"}, {"algorithm": "magnitude_sparsity"}]
    together = problems_of({"compression": both, "accuracy_aware_training": training})
    assert "'filter_pruning' and 'magnitude_sparsity'" in together["accuracy_aware_training.mode"]


def test_an_empty_configuration_is_refused() -> None:
    assert "is missing" in problems_of({})["compression"]


def test_a_key_in_the_wrong_place_is_shown_the_right_one() -> None:
    data = {"compression": {"algorithm": "filter_pruning", "pruning_target": 0.5, "params": {"pruning_init": 0.1}}}
    found = problems_of(data)
    assert found["compression.pruning_target"] == "does not belong here; its place is 'params.pruning_target'"
    assert found["compression.params.pruning_init"] == "does not belong here; its place is 'pruning_init'"


def test_a_key_given_twice_is_not_read_silently(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"compression": [], "compression": {"algorithm": "filter_pruning"}}')
    with pytest.raises(CompressionError, match="twice in one object: compression"):
        Configuration.load(tmp_path / "config.json")


@pytest.mark.parametrize("what", [None, 3, [], ["filter_pruning"]])
def test_what_is_no_compression_is_refused(what: object) -> None:
    with pytest.raises(CompressionError, match="is no compression"):
        configuration_of(what)


def test_a_file_that_is_not_there_or_no_json_is_said(tmp_path: Path) -> None:
    with pytest.raises(CompressionError, match="cannot be read"):
        Configuration.load(tmp_path / "absent.json")
    (tmp_path / "broken.json").write_text('{"compression": ')
    with pytest.raises(CompressionError, match="neither JSON nor JSON5"):
        Configuration.load(tmp_path / "broken.json")


def test_problems_are_plain_data(fakes: None) -> None:
    json.dumps(list(problems_of({"compression": 3, "input_info": {"sample_size": [0]}}).items()))
