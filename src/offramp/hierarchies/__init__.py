"""Hierarchies of classes: groups, given or found, with which an early exit may answer where its class is not sure."""

from offramp.hierarchies.clustering import confusion_groups
from offramp.hierarchies.hierarchy import Hierarchy, LevelAccuracy

__all__ = ["Hierarchy", "LevelAccuracy", "confusion_groups"]
