"""Trains the tiny problem into a folder and is killed, as by a power cut, in the middle of the second epoch.

Usage: python launch_killed_run.py FOLDER
"""

from __future__ import annotations

import sys

import torch
from tiny_problem import TinyExits, Trapped, kill, train_loader, val_loader

import offramp as ofr

if __name__ == "__main__":
    torch.set_num_threads(1)
    train = Trapped(train_loader(), epoch=2, batch=4, trap=kill)
    ofr.fit(TinyExits(), train, val=val_loader(), epochs=3, seed=3, device="cpu", out=sys.argv[1], progress=False)
