"""Distiller's compress_classifier.py, by its name: the flags are those of `offramp classify`."""

import sys

from offramp.cli import main

sys.exit(main(["classify", *sys.argv[1:]]))
