"""What the commands say about other people's models: the output of `inspect`, `verdict` and `export`, word for word.

    python benchmarks/shown.py [--run runs/demo-fashion-mnist-seed0]

The documentation shows it. Models of timm and Hugging Face have random weights, and the exits of a verdict are those
that --rates asks for; the run is that of `offramp demo`.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from provenance import ROOT, write

RUN = "runs/demo-fashion-mnist-seed0"
WIDTH = "108"
COMMANDS = (
    "inspect timm:resnet18 --input 3,64,64",
    "verdict timm:resnet18 --input 3,64,64 --at layer1 layer2 --rates 0.5 0.5 --batch-sizes 1 64",
    "export timm:resnet18 --input 3,64,64 --at layer1 layer2 --thresholds 0.9 0.9 --format onnx --out {out}/timm",
    "inspect hf:bert",
    "verdict hf:bert --input 64 --at 0.25 0.5 --rates 0.5 0.5 --batch-sizes 1 32",
    "export hf:bert --input 64 --at 0.25 0.5 --thresholds 0.9 0.9 --format onnx --out {out}/bert",
    "inspect resnet_small",
    "verdict {run} --batch-sizes 1 256",
    "export {run} --format onnx --out {out}/demo",
)
PROGRAM = "import torchvision_operators; torchvision_operators.declare(); from offramp.cli import main; main()"


def said(command: str, run: Path, out: str) -> dict[str, str]:
    """Runs one command, and keeps what it prints.

    Raises:
        RuntimeError: it failed.
    """
    filled = command.format(run=run, out=out)
    environment = {**os.environ, "COLUMNS": WIDTH, "PYTHONPATH": str(ROOT / "benchmarks"), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *shlex.split(filled)], capture_output=True, text=True, env=environment, cwd=ROOT
    )
    if done.returncode:
        raise RuntimeError(f"offramp {filled}: exit code {done.returncode}\n{done.stderr}")
    shown = command.format(run="RUN", out="OUT")
    text = "\n".join(line.rstrip() for line in done.stdout.splitlines()).strip("\n")
    return {"command": f"offramp {shown}", "said": text.replace(str(run), "RUN").replace(out, "OUT")}


def main() -> None:
    """Runs every command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path(RUN))
    run = parser.parse_args().run
    with tempfile.TemporaryDirectory() as out:
        commands = []
        for command in COMMANDS:
            commands.append(said(command, run, out))
            print("offramp", command, write("shown", {"commands": commands}), flush=True)


if __name__ == "__main__":
    main()
