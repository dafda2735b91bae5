"""The files that offramp writes and reads again: JSON objects that say what they are and in which version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offramp.errors import FileFormatError


@dataclass(frozen=True)
class DocumentKind:
    """A kind of document: its name in the file, the one version that is read, and the words of its errors.

    Args:
        format: value of the field "format", such as "offramp.policy".
        version: value of the field "version"; another one is refused.
        noun: what it is called, such as "policy".
        remedy: sentence that says how to get one, such as "Write one with Policy.save.".

    Example:
        >>> DocumentKind("offramp.note", 1, "note", "Write one.").check({"format": "offramp.note", "version": 2})
        Traceback (most recent call last):
        ...
        offramp.errors.FileFormatError: What was given is a note of format version 2, this offramp reads version 1. ...
    """

    format: str
    version: int
    noun: str
    remedy: str

    def stamp(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The same data with format and version in front."""
        return {"format": self.format, "version": self.version, **data}

    def check(self, data: Any, where: str | Path = "What was given") -> dict[str, Any]:
        """The data, once it is known to be of this kind.

        Args:
            data: what was read.
            where: its file, for the error.

        Raises:
            FileFormatError: another kind, or another version.
        """
        if not isinstance(data, dict) or data.get("format") != self.format:
            raise FileFormatError(
                f'{where} is no {self.noun}: expected an object with "format": "{self.format}". {self.remedy}'
            )
        if data.get("version") != self.version:
            raise FileFormatError(
                f"{where} is a {self.noun} of format version {data.get('version')!r}, this offramp reads version "
                f"{self.version}. Install a newer offramp, or make it anew. {self.remedy}"
            )
        return data

    def damaged(self, where: str | Path, error: Exception) -> FileFormatError:
        """The error for data of this kind in which something is missing or wrong."""
        return FileFormatError(
            f"{where} is damaged or no {self.noun} ({type(error).__name__}: {error}). Restore it, or make it anew. "
            f"{self.remedy}"
        )

    def read(self, path: str | Path) -> dict[str, Any]:
        """A file of this kind.

        Raises:
            FileFormatError: missing, no JSON, or of another kind or version.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf8"))
        except FileNotFoundError as error:
            raise FileFormatError(f"There is no {self.noun} at {path}. {self.remedy}") from error
        except (OSError, ValueError) as error:
            raise self.damaged(path, error) from error
        return self.check(data, path)

    def write(self, path: str | Path, data: Mapping[str, Any], indent: int = 2) -> None:
        """Writes a file of this kind in one step: whoever reads sees the old one or the new one.

        Args:
            path: where; what is there is replaced.
            data: plain data; format and version are put in front.
            indent: spaces per level.

        Raises:
            FileFormatError: it cannot be written there, or the data has no place in JSON.
        """
        beside = Path(f"{path}.part")
        try:
            # What is not a number has no JSON that other readers accept.
            beside.write_text(json.dumps(self.stamp(data), indent=indent, allow_nan=False) + "\n", encoding="utf8")
            beside.replace(path)
        except (OSError, TypeError, ValueError) as error:
            raise FileFormatError(
                f"{path} cannot be written ({error}). Choose a folder you can write to, and keep to numbers, strings, "
                "lists and dicts."
            ) from error
