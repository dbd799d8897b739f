"""Check that the project's text avoids the phrases listed in ``.ci/phrases.txt``.

    python .ci/check_phrases.py [FILE ...]

Without arguments it checks all text files that git tracks. It prints each place with a suggestion, and exits with
status 1 if it found any.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
SUFFIXES = {".py", ".md", ".cu", ".cuh", ".h", ".toml", ".cff", ".yaml", ".yml", ".txt", ""}
# The list itself, the licence, and the record of earlier text.
EXEMPT = {".ci/phrases.txt", "LICENSE"}
# Line breaks within a sentence, with the comment sign of the next line.
BREAK = re.compile(r"\s*\n[ \t]*(?:(?:#|//|\*|>)[ \t]*)?|[ \t]+")


def phrases() -> list[tuple[re.Pattern[str], str]]:
    """Return the patterns and what to write instead of each."""
    found = []
    for line in (HERE / "phrases.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern, _, advice = line.partition(" -> ")
            found.append((re.compile(pattern.replace(" ", r"\s"), re.IGNORECASE), advice))
    return found


def tracked_files() -> list[str]:
    """Return the text files that git tracks, relative to the repository's root."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=HERE.parent, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and Path(name).suffix in SUFFIXES]


def matches(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line number, the words and the advice for each phrase in a text."""
    # Each line break becomes one space. The list of offsets leads back to the lines.
    pieces: list[str] = []
    starts: list[tuple[int, int]] = [(0, 0)]
    length = last = 0
    for gap in BREAK.finditer(text):
        pieces += [text[last : gap.start()], " "]
        length += gap.start() - last + 1
        last = gap.end()
        starts.append((length, last))
    flat = "".join([*pieces, text[last:]])
    for pattern, advice in PHRASES:
        for match in pattern.finditer(flat):
            new, old = max(start for start in starts if start[0] <= match.start())
            yield text.count("\n", 0, old + match.start() - new) + 1, match[0], advice


PHRASES = phrases()


def main(arguments: list[str]) -> int:
    """Check the given files, or all tracked ones, and return the exit status."""
    failed = False
    for name in arguments or tracked_files():
        path = Path(name) if arguments else HERE.parent / name
        if name in EXEMPT or not path.is_file():
            continue
        for line, words, advice in sorted(matches(path.read_text(errors="replace"))):
            print(f"{name}:{line}: {words!r}: write {advice}")
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
