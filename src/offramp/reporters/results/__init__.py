"""What a report shows, computed once: one section a file, all of them plain data in `Results`.

To add a section: a file here with a frozen dataclass and its `of`, and a field in `document.Results`.
"""

from offramp.reporters.results.document import Results
from offramp.reporters.results.provenance import Provenance, Subject
from offramp.reporters.results.source import Source
from offramp.reporters.results.speed import Speed

__all__ = ["Provenance", "Results", "Source", "Speed", "Subject"]
