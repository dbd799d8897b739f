"""Results as JSON lines, written one by one, and JSON files that are replaced in one step.

A command that is killed has written all results that it had. A file that is replaced in one step is never half written.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["Lines", "read_lines", "replace_json"]

Line = dict[str, Any]


class Lines:
    """A file to which results are appended, one JSON object per line.

    Args:
        path: Path of the file, which may already contain lines; None writes nothing.

    Attributes:
        written: The lines that this object wrote.
    """

    def __init__(self, path: Path | None) -> None:
        self.written: list[Line] = []
        self._path = path
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, kind: str, **fields: Any) -> Line:
        """Append a line with the fields ``kind`` and ``fields``, and return it."""
        line = {"kind": kind, **fields}
        self.written.append(line)
        if self._path is not None:
            # Opened for each line: the system has the whole line after this call, whatever happens to the process.
            with open(self._path, "a") as file:
                file.write(json.dumps(line) + "\n")
        return line


def read_lines(path: Path) -> list[Line]:
    """Return the complete lines of a file; an empty list if it does not exist.

    A last line that is still being written is left out.
    """
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.split("\n")[:-1] if line.strip()]


def replace_json(path: Path, content: Any, indent: int | None = 1) -> None:
    """Write a JSON file in one step: other processes see the old content or the new content.

    Args:
        path: Path of the file. Its folder is made if it does not exist.
        content: The content.
        indent: Number of spaces per level; None writes one line.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.part")
    temporary.write_text(json.dumps(content, indent=indent) + "\n")
    os.replace(temporary, path)
