"""PyAV's FFmpeg, lent to the packages that bring none: torchcodec and SPDL look for one that is installed.

So all that can be made to decodes with the same build. Wheels rename the libraries that they carry; a folder of links
gives them back the names that the dynamic loader is asked for.
"""

from __future__ import annotations

import re
from pathlib import Path

import av

_CARRIED = re.compile(r"(lib(?:av|sw)[a-z]+)-[0-9a-f]+\.so\.(\d+)(?:\.\d+)*")


def link_libraries(folder: Path) -> bool:
    """Fill an empty folder for ``LD_LIBRARY_PATH``; False where this PyAV carries no libraries, as one built from
    source, which uses the system's.
    """
    carried = Path(av.__file__).resolve().parents[1] / "av.libs"
    if not carried.is_dir():
        return False
    for library in carried.iterdir():
        # Under their own names too: they look for each other beside themselves.
        (folder / library.name).symlink_to(library)
        if match := _CARRIED.fullmatch(library.name):
            (folder / f"{match[1]}.so.{match[2]}").symlink_to(library)
    return True
