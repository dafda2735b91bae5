"""Flags of Distiller's compress_classifier.py that are none of `offramp classify`, and what to do instead."""

from __future__ import annotations

from offramp.cli.failures import UsageError

LEAVE_OUT = "leave it out"
REFUSED = {
    "--resume": "takes the weights alone in Distiller; write --exp-load-weights-from FILE for that, or --resume-from "
    "RUN to go on with a run",
    "--verbose": f"is not needed, as log.txt has everything; {LEAVE_OUT}",
    "-v": f"is not needed, as log.txt has everything; {LEAVE_OUT}",
    "--load-serialized": f"is not needed, as no network is wrapped for several devices; {LEAVE_OUT}",
    "--thinnify": 'is not needed: filters that --compress prunes, by {"algorithm": "filter_pruning"}, are removed',
    "--activation-stats": f"is not taken over; {LEAVE_OUT}",
    "--act-stats": f"is not taken over; {LEAVE_OUT}",
    "--activation-histograms": f"is not taken over; {LEAVE_OUT}",
    "--act-hist": f"is not taken over; {LEAVE_OUT}",
    "--masks-sparsity": f"is not taken over; {LEAVE_OUT}, and see --summary sparsity",
    "--param-hist": f"is not taken over; {LEAVE_OUT}",
    "--extras": f"is not taken over; {LEAVE_OUT}",
    "--quantize-eval": 'is not taken over; quantize with --compress, by {"algorithm": "quantization"}',
}
FAMILIES = {
    "--qe-": REFUSED["--quantize-eval"],
    "--greedy": 'is not taken over; --compress looks for a rate, by {"algorithm": "filter_pruning"}',
    "--amc-": 'is not taken over; --compress looks for a rate, by {"algorithm": "filter_pruning"}',
}
"""What flags that begin alike have in common."""


def check_known(flag: str) -> None:
    """Refuses a flag that Distiller has and this command has not.

    Raises:
        UsageError: naming what to do instead.
    """
    reason = REFUSED.get(flag) or next((why for start, why in FAMILIES.items() if flag.startswith(start)), None)
    if reason:
        raise UsageError(f"{flag} {reason}.")
