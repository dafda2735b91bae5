"""The page "Coming from Distiller" names flags and tests; all of them are there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "how-to" / "coming-from-distiller.md"
TESTS = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.read_text(encoding="utf8"))


def flags() -> set[str]:
    """Those in the first column of the table of flags."""
    table = PAGE.read_text(encoding="utf8").split("## The flags")[1].split("##")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `-")]
    return {flag for row in rows for flag in re.findall(r"--?[\w-]+", row)}


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_every_test_that_is_named_is_there(file: str, name: str) -> None:
    assert f"def {name}(" in (ROOT / file).read_text(encoding="utf8")


def test_a_test_is_named_for_every_defect() -> None:
    assert len(TESTS) > 20


def test_every_flag_that_is_named_is_understood() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "offramp", "classify", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"COLUMNS": "300", "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 0, done.stderr
    known = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", done.stdout))
    assert len(flags()) > 30
    assert not flags() - known
