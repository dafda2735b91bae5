"""Loops that train a compressed model until its accuracy holds: pure searches, a file each.

To add one: a new file here with a class derived from `Loop` and decorated with `register`, and its import below.
"""

from offramp.compression.loops.adaptive_compression_level import AdaptiveCompressionLevel
from offramp.compression.loops.early_exit import EarlyExit
from offramp.compression.loops.limits import LOOPS, Bounds, Loop, register
from offramp.compression.loops.rate_search import RateSearch
from offramp.compression.loops.search import Evaluate, Evaluation, Move, Stop

__all__ = [
    "LOOPS",
    "AdaptiveCompressionLevel",
    "Bounds",
    "EarlyExit",
    "Evaluate",
    "Evaluation",
    "Loop",
    "Move",
    "RateSearch",
    "Stop",
    "register",
]
