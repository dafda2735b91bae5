"""Runs the Python blocks of the documentation as tests; blocks of one page share their names."""

from __future__ import annotations

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

pytest_collect_file = Sybil(parsers=[PythonCodeBlockParser()], patterns=["docs/**/*.md"]).pytest()
