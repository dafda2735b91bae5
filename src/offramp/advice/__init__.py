"""Advice: which criterion, for which goal, and whether exits pay at all, by evidence from one recording."""

from offramp.advice.advising import advise
from offramp.advice.findings import Advice, Choice, Static

__all__ = ["Advice", "Choice", "Static", "advise"]
