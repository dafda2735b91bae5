from __future__ import annotations

from pathlib import Path

import pytest

from offramp.benchmark import Suite
from offramp.errors import BenchmarkError

SUITES = sorted((Path(__file__).parents[3] / "benchmarks" / "regimes").glob("*.toml"))


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_the_committed_suites_have_no_mistakes_and_enough_seeds(path):
    suite = Suite.load(path)
    assert len(suite.seeds) >= 5
    assert {"disjoint", "joint", "mixed", "joint-long", "mixed-long", "backbone-long"} <= set(suite.regimes)
    assert len(Suite.load(path, quick=True).problems) < len(suite.problems)


def test_every_mistake_is_named_with_its_field(plain_suite):
    data = plain_suite({"epochs": 0, "data": "fashion-mnits", "fit": {"lerning_rate": 1}, "batch_size": 65}, seeds=[])
    data["regimes"] |= {"odd": {"regime": "jiont"}, "free": {"regime": "joint", "compute": 0}}
    with pytest.raises(BenchmarkError) as error:
        Suite.from_dict(data, "my.toml")
    message = str(error.value)
    for said in (
        "my.toml has 7 mistakes",
        "seeds = []: give a list",
        "problems.pairs.epochs = 0: give a whole number of at least 1",
        "problems.pairs.batch_size = 65 exceeds train = 64",
        "problems.pairs.data: there is no data set 'fashion-mnits'. Closest: 'fashion-mnist'",
        "problems.pairs.fit.lerning_rate: there is no such option here",
        "regimes.odd.regime: There is no regime 'jiont'. Closest: 'joint'",
        "regimes.free.compute = 0: give a multiple",
    ):
        assert said in message, message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"problem": {"network": "rsnet"}}, "there is no network 'rsnet'. Closest: 'resnet'"),
        ({"problem": {"head": "pooled"}}, "no exit head 'pooled'. Closest: 'pooled_linear'"),
        ({"problem": {"trian": 3}}, "problems.pairs.trian: there is no such field. Closest: 'train'"),
        ({"problem": {"regimes": ["jint"]}}, "problems.pairs.regimes: there is no 'jint'. Closest: 'joint'"),
        ({"problem": {"baseline": "svc"}}, "there is no baseline 'svc'. Closest: 'tfidf-svc'"),
        ({"criteria": ["patient"]}, "no criterion 'patient'. Closest: 'patience'"),
        ({"problems": {}}, "problems: there is none"),
        ({"regimes": {"A B": {"regime": "joint"}}}, "regimes.A B: names are lower-case words"),
        (
            {"regimes": {"joint": {"regime": "joint", "match": ["wall"]}}},
            "give a list of at least one of 'compute', 'time'",
        ),
        ({"nmae": "x"}, "nmae: there is no such field. Closest: 'name'"),
    ],
)
def test_a_mistake_is_answered_with_what_is_allowed(plain_suite, change, said):
    with pytest.raises(BenchmarkError) as error:
        Suite.from_dict(plain_suite(**change))
    assert said in str(error.value)


def test_a_missing_field_is_named(plain_suite):
    data = plain_suite()
    del data["problems"]["pairs"]["epochs"]
    with pytest.raises(BenchmarkError, match=r"problems\.pairs\.epochs is missing"):
        Suite.from_dict(data)


def test_a_missing_file_names_the_suites_there_are(tmp_path):
    with pytest.raises(BenchmarkError, match=r"no suite .*Those of the repository are benchmarks/regimes"):
        Suite.load(tmp_path / "none.toml")


def test_what_is_no_toml_is_refused(tmp_path):
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(BenchmarkError, match="cannot be read as TOML"):
        Suite.load(tmp_path / "bad.toml")


def test_a_short_run_takes_what_its_table_names(plain_suite):
    data = plain_suite({"regimes": ["joint", "disjoint"]}, quick={"seeds": [3], "regimes": ["joint"]})
    short = Suite.from_dict(data, quick=True)
    assert (short.name, short.seeds, list(short.regimes)) == ("tiny-quick", (3,), ["joint"])
    assert list(short.entries("pairs")) == ["joint"]
    with pytest.raises(BenchmarkError, match=r"quick\.match = 'time': give a list"):
        Suite.from_dict(plain_suite(quick={"match": "time"}), quick=True)
    with pytest.raises(BenchmarkError, match=r"quick\.problems: there is no 'paris'. Closest: 'pairs'"):
        Suite.from_dict(plain_suite(quick={"problems": ["paris"]}), quick=True)
    with pytest.raises(BenchmarkError, match=r"there is no table \[quick\]"):
        Suite.from_dict(plain_suite(), quick=True)


def test_both_ways_of_matching_are_the_default(plain_suite):
    data = plain_suite(regimes={"joint": {"regime": "joint"}}, quick={"match": ["compute"]})
    assert Suite.from_dict(data).regimes["joint"].match == ["compute", "time"]
    assert Suite.from_dict(data, quick=True).regimes["joint"].match == ["compute"]
