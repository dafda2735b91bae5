"""The contract of a runtime: inputs in, decisions out, in the order of the inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from offramp.decisions import Decisions
from offramp.policy import Policy
from offramp.segments import Plan

if TYPE_CHECKING:
    from offramp.runtimes.staged import StagedRuntime
    from offramp.runtimes.streaming import Stream


class Runtime(ABC):
    """Takes exits. Every call stands alone, so that one runtime serves several threads.

    Attributes:
        plan: its policy, laid out for its model.
    """

    plan: Plan

    @property
    def policy(self) -> Policy:
        """What decides who leaves."""
        return self.plan.policy

    @abstractmethod
    def __call__(self, inputs: Any) -> Decisions:
        """Decides one batch.

        Raises:
            InputError: the inputs do not fit the model: empty batch, other structure, dtype or device.
            StageError: a part of the network failed, for instance for want of memory. The runtime stays usable.
        """

    @abstractmethod
    def staged(self) -> StagedRuntime:
        """The same decisions from programs that run segment by segment, as streaming needs it.

        Raises:
            CutError: the model has no stages.
        """

    def stream(
        self,
        requests: Iterable[Any],
        *,
        target: int = 64,
        max_wait: float | None = None,
        linger: float = 0.0,
        in_flight: int | None = None,
    ) -> Iterator[Decisions]:
        """Answers many requests, in their order, with rows of several of them in one batch at every stage.

        Without `max_wait`, requests are pulled one by one in the caller's thread and everything waits for full batches:
        for evaluation. With it, they are read in a thread of their own, and each is answered by its deadline.

        Args:
            requests: each is what the runtime takes, one or several rows.
            target: a stage runs when so many rows wait for it, and never on more at once.
            max_wait: seconds from a request's arrival to its deadline.
            linger: with `max_wait`, seconds without an arrival after which a stage runs on fewer rows than `target`.
            in_flight: most rows under way; by default enough to keep all stages in work.

        Raises:
            StreamError: a parameter is out of range, or `max_wait` less than one row takes.
            CutError: the model has no stages.
            InputError: a request does not fit the model.
            StageError: a part of the network failed. This and the error before, like one that `requests` raises, come
                behind the answers to the requests before; the runtime stays usable.
        """
        from offramp.runtimes.streaming import Settings, answers

        return answers(self.staged(), requests, Settings(target, max_wait, linger, in_flight))

    def serve(
        self,
        *,
        target: int = 64,
        max_wait: float | None = None,
        linger: float = 0.0,
        in_flight: int | None = None,
    ) -> Stream:
        """Opens a stream that any thread may submit requests to; close it, or use it as a context manager.

        Args:
            target: a stage runs when so many rows wait for it, and never on more at once.
            max_wait: seconds from a request's arrival to its deadline.
            linger: seconds without an arrival after which a stage runs on fewer rows than `target`.
            in_flight: most rows under way; by default enough to keep all stages in work.

        Raises:
            StreamError: a parameter is out of range, or `max_wait` less than one row takes.
            CutError: the model has no stages.
        """
        from offramp.runtimes.streaming import Settings, Stream

        return Stream(self.staged(), Settings(target, max_wait, linger, in_flight))
