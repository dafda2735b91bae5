"""The work behind the commands. These modules import torch; the commands import them when they run."""
