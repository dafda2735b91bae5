"""Accuracy-aware compression: algorithms that make a model smaller, and loops that train until the accuracy holds."""

from offramp.compression.algorithms import ALGORITHMS, Algorithm, Compressor, Stage, Statistics

__all__ = ["ALGORITHMS", "Algorithm", "Compressor", "Stage", "Statistics"]
