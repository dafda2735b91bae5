"""`import offramp` is cheap, and every public name is there when it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import offramp as ofr


def loaded_by(statement: str) -> set[str]:
    """Modules loaded in a fresh interpreter by a statement."""
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_loads_no_heavy_library():
    loaded = loaded_by("import offramp")
    assert "offramp" in loaded
    assert loaded.isdisjoint({"torch", "numpy", "rich", "accelerate", "safetensors", "matplotlib", "sklearn"})


def test_the_errors_need_no_torch():
    assert "torch" not in loaded_by("import offramp; offramp.errors.AttachError")


def test_the_core_needs_no_extra_and_no_training():
    loaded = loaded_by("import offramp; offramp.attach, offramp.deploy, offramp.record, offramp.criteria")
    assert "torch" in loaded
    assert loaded.isdisjoint({"accelerate", "matplotlib", "sklearn", "tensorboard", "offramp.training", "offramp.zoo"})


@pytest.mark.parametrize("name", ofr.__all__)
def test_every_public_name_is_there(name):
    assert getattr(ofr, name) is not None
    assert name in dir(ofr)


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="module 'offramp' has no attribute 'atach'"):
        _ = ofr.atach
