"""Dynamic rebatching: rows of several requests run together, and rejoin company at every stage.

What goes on from one request's batch waits for the remainders of others, so that late stages run on full batches too.
"""

from offramp.runtimes.streaming.scheduler import Fire, Scheduler, Ticket, Wait
from offramp.runtimes.streaming.settings import Settings
from offramp.runtimes.streaming.stage_times import StageTimes
from offramp.runtimes.streaming.stream import Stream, answers

__all__ = ["Fire", "Scheduler", "Settings", "StageTimes", "Stream", "Ticket", "Wait", "answers"]
