from __future__ import annotations

import subprocess
import sys

import pytest

import offramp

COMMANDS = ["demo", "inspect", "train", "classify", "calibrate", "evaluate", "verdict", "compress", "report"]


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("tokens", [[], ["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)])
def test_help_does_not_wait_for_torch(tokens: list[str]) -> None:
    code = (
        "import sys; from offramp.cli import main; code = main(sys.argv[1:])\n"
        "heavy = {'torch', 'matplotlib', 'accelerate', 'numpy'} & set(sys.modules)\n"
        "print('heavy:', *heavy); sys.exit(code)"
    )
    done = run_python(code, *tokens)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy:"
    if "--help" in tokens:
        assert "Usage: offramp" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_common_options(name: str) -> None:
    done = subprocess.run([sys.executable, "-m", "offramp", name, "--help"], capture_output=True, text=True, timeout=60)
    for option in ("--json", "--device", "--seed", "--debug"):
        assert option in done.stdout


def test_the_module_passes_the_exit_code_on() -> None:
    done = subprocess.run([sys.executable, "-m", "offramp", "bogus"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "bogus" in done.stderr
    assert done.stdout == ""


def test_version() -> None:
    assert run_python("from offramp.cli import main; main(['--version'])").stdout.strip() == offramp.__version__
