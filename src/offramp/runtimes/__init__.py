"""How exits are taken: a runtime turns inputs into decisions and runs no stage for nobody."""

from offramp.runtimes.deploying import deploy
from offramp.runtimes.eager import EagerRuntime
from offramp.runtimes.one_graph import OneGraphRuntime
from offramp.runtimes.refusing import RefusingRuntime
from offramp.runtimes.runtime import Runtime
from offramp.runtimes.staged import Program, StagedRuntime
from offramp.runtimes.tuning import Tuning

__all__ = [
    "EagerRuntime",
    "OneGraphRuntime",
    "Program",
    "RefusingRuntime",
    "Runtime",
    "StagedRuntime",
    "Tuning",
    "deploy",
]
