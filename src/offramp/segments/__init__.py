"""Segments: what runs between two exits that a policy uses, as modules that take and give tensors only.

A segment is what compilers, exporters and queues work on: its stages, the head at its exit, and the criterion's score.
"""

from offramp.segments.entrance import Entrance
from offramp.segments.plan import Plan
from offramp.segments.segment import Segment, segments_of

__all__ = ["Entrance", "Plan", "Segment", "segments_of"]
