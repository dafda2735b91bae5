"""The README's example runs, and prints what the README says it prints."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
NUMBER = r"[-+]?\d+(?:\.\d+)?"


def example() -> tuple[str, str]:
    code, printed = re.search(r"```python\n(.*?)```\n```text\n(.*?)```", README.read_text(), re.DOTALL).groups()
    return code, printed


def test_example_prints_what_the_readme_shows():
    code, shown = example()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    assert re.sub(NUMBER, "#", printed.getvalue()) == re.sub(NUMBER, "#", shown)
    # Training differs in the last bits between machines: each figure may move a little, no further.
    for now, then in zip(re.findall(NUMBER, printed.getvalue()), re.findall(NUMBER, shown), strict=True):
        slack = 0.1 if then.startswith("0.") else 3  # a share of the MACs, or points and counts
        assert float(now) == pytest.approx(float(then), rel=0.08, abs=slack)
