"""What is shown of a model with exits: `results` computes it once, and each reporter here shows it in its own way.

To add a reporter: a file here with `render(results)`.
"""

from offramp.reporters.results import Provenance, Results, Subject

__all__ = ["Provenance", "Results", "Subject"]
