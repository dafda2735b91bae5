"""`offramp demo`: from nothing to a report in one go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from offramp.cli.options import Common
from offramp.cli.run_folder import Request, RunFolder


@dataclass(frozen=True)
class DemoRecipe:
    """What the demo does; all of its choices are here.

    Attributes:
        data: name of the data set.
        arch: network of the zoo, cut at its own places.
        head: exit head.
        epochs: passes over the training split.
        batch_size: images per step.
        lr: initial learning rate of SGD; None for its default.
        warmup: epochs over which it rises first.
        weights: of the exits' losses.
        validation: images of the validation split.
        calibration: images of the calibration split.
        criterion: what is compared with the thresholds.
        points: largest drop of accuracy, a share.
        delta: probability with which the certificate may be wrong.
    """

    data: str = "fashion-mnist"
    arch: str = "resnet_small"
    head: str = "sdn_pool"
    epochs: int = 10
    batch_size: int = 128
    lr: float | None = None
    warmup: float = 1.0
    weights: str = "mean"
    validation: int = 2500
    calibration: int = 7500
    criterion: str = "max_probability"
    points: float = 0.01
    delta: float = 0.05

    def request(self, seed: int) -> Request:
        """The training run that this asks for."""
        return Request(
            arch=self.arch,
            data=self.data,
            at=(),
            head=self.head,
            seed=seed,
            validation=self.validation,
            calibration=self.calibration,
            epochs=self.epochs,
            batch_size=self.batch_size,
            optimizer="sgd",
            lr=self.lr,
            schedule="cosine",
            warmup=self.warmup,
            weights=self.weights,
        )


RECIPES = {
    "fashion-mnist": DemoRecipe(),
    # The stand-in has 1,438 training images: more passes over smaller batches, and a looser promise.
    "digits": DemoRecipe(
        data="digits", epochs=20, batch_size=32, lr=0.05, validation=150, calibration=500, points=0.02
    ),
}


def demo(
    *,
    out: Path | None = None,
    data: Annotated[str | None, Parameter(show_default=False)] = None,
    common: Common = Common(),  # noqa: B008 - frozen, so sharing it is safe
) -> int:
    """Train, calibrate, evaluate and report on real images, in one go.

    Takes some minutes on two CPU cores. What is finished is not done again, so after Ctrl-C the same command goes on.

    Args:
        out: run folder; by default runs/demo-DATA-seedSEED.
        data: fashion-mnist (the default) or digits; without Fashion-MNIST, digits stand in.
        common: options of every command.
    """
    from offramp.cli.session import Session
    from offramp.cli.steps import demonstration

    session = Session(common)
    recipe, notice = demonstration.choose_recipe(data, RECIPES)
    folder = RunFolder(out or Path("runs") / f"demo-{recipe.data}-seed{session.seed()}")
    code, result = demonstration.run(folder, recipe, notice, session)
    session.deliver(result)
    return code
