"""`offramp compress` as a user calls it: NNCF's manual's example as it is written, and four algorithms at once.

    python benchmarks/compress_command.py [--only "the manual's example"] [--data FOLDER]

The first on scanned digits, whose schedule takes 50 epochs; the second on Fashion-MNIST, of which 7,500 images train.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offramp.cli import main as offramp
from provenance import write

MANUAL = (Path(__file__).parents[1] / "examples" / "nncf_early_exit.json").read_text(encoding="utf8")

FOUR = """{
    // Channels go, then weights of those that stay; what is left becomes int8. The network before is the teacher.
    "accuracy_aware_training": {
        "mode": "early_exit",
        "params": {"maximal_relative_accuracy_degradation": 1.0, "maximal_total_epochs": 8}
    },
    "compression": [
        {
            "algorithm": "filter_pruning",
            "pruning_init": 0.3,
            "params": {"schedule": "baseline", "pruning_target": 0.3, "prune_first_conv": true}
        },
        {"algorithm": "magnitude_sparsity", "sparsity_init": 0.3, "params": {"sparsity_target": 0.3}},
        {"algorithm": "quantization"},
        {"algorithm": "knowledge_distillation", "type": "softmax", "temperature": 2.0}
    ]
}
"""


@dataclass(frozen=True)
class Case:
    """One call.

    Attributes:
        name: in words.
        config: its text.
        arguments: of the command, without the configuration and the folder.
    """

    name: str
    config: str
    arguments: Sequence[str]


CASES = (
    Case("the manual's example", MANUAL, ("digits", "--arch", "simplenet_mnist", "--epochs", "20")),
    Case(
        "four algorithms",
        FOUR,
        ("fashion-mnist", "--arch", "resnet_small", "--epochs", "5", "--validation", "2500", "--calibration", "50000"),
    ),
)


def called(case: Case, folder: Path) -> dict[str, Any]:
    """Calls the command, and keeps what its `outcome.json` says.

    Raises:
        RuntimeError: it failed.
    """
    folder.mkdir()
    config = folder / "config.json5"
    config.write_text(case.config, encoding="utf8")
    out = folder / "out"
    code = offramp(["compress", *case.arguments, "--config", str(config), "--out", str(out), "--export", "onnx"])
    if code:
        raise RuntimeError(f"offramp compress ({case.name}) ended with code {code}")
    found = json.loads((out / "outcome.json").read_text(encoding="utf8"))
    kept = ("subject", "holds", "stopped", "exit_epoch", "best_epoch", "statistics", "compression", "test", "size")
    return {
        "case": case.name,
        "command": ["offramp", "compress", *case.arguments],
        **{name: found[name] for name in kept if name in found},
    }


def main() -> None:
    """Calls both, and writes what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=[case.name for case in CASES])
    parser.add_argument("--data", help="folder with Fashion-MNIST")
    options = parser.parse_args()
    if options.data:
        os.environ["OFFRAMP_DATA"] = options.data
    with tempfile.TemporaryDirectory() as folder:
        chosen = [case for case in CASES if options.only in (None, case.name)]
        rows = [called(case, Path(folder, str(number))) for number, case in enumerate(chosen)]
    write("compress_command", {"rows": rows})


if __name__ == "__main__":
    main()
