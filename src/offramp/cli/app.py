"""The commands, put together."""

from __future__ import annotations

from cyclopts import App

import offramp
from offramp.cli import (
    advise,
    bench,
    calibrate,
    classify,
    compress,
    demo,
    evaluate,
    export,
    inspect,
    report,
    train,
    verdict,
)

app = App(
    name="offramp",
    help="Early exits for PyTorch models that are really taken, with a stated risk.",
    version=offramp.__version__,
    # main() turns Ctrl-C into a hint how to go on.
    suppress_keyboard_interrupt=False,
)
app.command(demo.demo)
app.command(inspect.inspect)
app.command(train.train)
app.command(calibrate.calibrate)
app.command(advise.advise)
app.command(evaluate.evaluate)
app.command(verdict.verdict)
app.command(compress.compress)
app.command(classify.classify)
app.command(report.report)
app.command(export.export)
app.command(bench.app)
