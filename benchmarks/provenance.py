"""What a measurement depends on besides the code: every results file carries it."""

from __future__ import annotations

import datetime
import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch

import offramp as ofr

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def provenance() -> dict[str, Any]:
    """Date, commit, files changed since, device and versions."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "changed_files": _git("status", "--porcelain", "--", "src/offramp", "benchmarks/*.py").splitlines(),
        "device": f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "offramp": ofr.__version__,
        },
    }


def write(name: str, results: dict[str, Any]) -> Path:
    """Writes `benchmarks/results/<name>.json`, provenance first."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({**provenance(), **results}, indent=2) + "\n", encoding="utf8")
    return path


def commit() -> str:
    """The commit that is checked out."""
    return _git("rev-parse", "HEAD")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    return done.stdout.strip()
