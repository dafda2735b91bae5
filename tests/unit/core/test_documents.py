"""Files that say what they are: written in one step, refused by kind, version and damage."""

from __future__ import annotations

import json

import pytest

from offramp.documents import DocumentKind
from offramp.errors import FileFormatError

NOTE = DocumentKind("offramp.note", 3, "note", "Write one with scribble().")


def test_what_is_written_is_read_and_leaves_nothing_beside_it(tmp_path):
    NOTE.write(tmp_path / "note.json", {"text": "ü", "n": [1, 2.5]})
    assert NOTE.read(tmp_path / "note.json") == {"format": "offramp.note", "version": 3, "text": "ü", "n": [1, 2.5]}
    assert [path.name for path in tmp_path.iterdir()] == ["note.json"]


@pytest.mark.parametrize("data", [float("nan"), float("inf"), {1, 2}])
def test_data_that_json_has_no_place_for_leaves_the_old_file(tmp_path, data):
    path = tmp_path / "note.json"
    NOTE.write(path, {"text": "old"})
    with pytest.raises(FileFormatError, match=r"note\.json cannot be written .*numbers, strings, lists and dicts"):
        NOTE.write(path, {"text": data})
    assert NOTE.read(path)["text"] == "old"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", r"note\.json is damaged or no note .*scribble"),
        ("\xff", r"note\.json is damaged or no note"),
        ("[]", r"note\.json is no note: expected .*offramp\.note"),
        (json.dumps({"format": "offramp.policy", "version": 3}), "is no note"),
        (json.dumps({"format": "offramp.note", "version": 4}), r"format version 4, .*reads version 3.*newer offramp"),
        (json.dumps({"format": "offramp.note"}), r"format version None, .*reads version 3"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, text, said):
    (tmp_path / "note.json").write_bytes(text.encode("latin1"))
    with pytest.raises(FileFormatError, match=said):
        NOTE.read(tmp_path / "note.json")


def test_a_missing_file_says_how_to_get_one(tmp_path):
    with pytest.raises(FileFormatError, match=r"There is no note at .*gone\.json\. Write one with scribble"):
        NOTE.read(tmp_path / "gone.json")
