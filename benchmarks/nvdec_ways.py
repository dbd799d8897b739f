"""The way in which each file of some folders is decoded where a GPU is used, and why: a table, and counts.

For each file there are two answers: without a motion index, and with the file's row in one. A file that PyAV cannot
decode as a whole has no row. No GPU is needed: the answers apply to a GPU that decodes all codecs of DALI in any size.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import io
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import av

# Examine with the package of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from command import say

from mgdali.errors import VideoDecodeError
from mgdali.gpu.nvdec import ANY_GPU, tried_way
from mgdali.index.measure import measure_video
from mgdali.video.frames import keep_decoder_messages
from mgdali.video.media import Media
from mgdali.video.stream_facts import probe

_COLUMNS = ("file", "way", "reason", "way_indexed", "reason_indexed")
_ERROR = "error"
# Numbers and sizes, but no names such as h264.
_NUMBER = re.compile(r"(?<!\w)-?\d+(x\d+)?(?!\w)")

Row = tuple[str, str, str, str, str]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="folders of files, of any kind")
    parser.add_argument("--out", type=Path, metavar="FILE.tsv", help="table to write")
    arguments = parser.parse_args()
    keep_decoder_messages()
    rows = [row for folder in arguments.folders for row in _rows(folder)]
    if not rows:
        raise SystemExit("nvdec_ways.py: the folders contain no files")
    summary = list(_summary(rows))
    print("\n".join(summary))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(_table(rows, summary))


def _rows(folder: Path) -> Iterator[Row]:
    """Yield a row for each file, and one for each folder of JPEG frames."""
    folder = folder.resolve()
    for place in [folder, *sorted(path for path in folder.rglob("*") if path.is_dir())]:
        files = sorted(path for path in place.iterdir() if path.is_file())
        frames = [path for path in files if path.suffix.lower() in (".jpg", ".jpeg")]
        for path in [place] * bool(frames) + [path for path in files if path not in frames]:
            say(str(path))
            yield (path.relative_to(folder.parent).as_posix(), *_ways(Media(str(path))))


def _ways(media: Media) -> tuple[str, str, str, str]:
    """Return the way and the reason without an index, and the same with a row of an index."""
    try:
        content = media.read()
        facts = probe(content, media.path)
    except VideoDecodeError as error:
        return _ERROR, error.reason, _ERROR, error.reason
    plain = tried_way(content, media.path, facts, ANY_GPU)
    record = measure_video(media, media.path, ())
    if record.error is not None:
        return plain.kind, plain.reason, _ERROR, record.error
    indexed = tried_way(content, media.path, facts, ANY_GPU, record=record)
    return plain.kind, plain.reason, indexed.kind, indexed.reason


def _table(rows: Iterable[Row], summary: Iterable[str]) -> str:
    """Return the table as tab-separated values; the versions and the summary are comments."""
    text = io.StringIO()
    date = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    text.write(f"# PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}, {date}\n")
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerows([_COLUMNS, *rows])
    text.writelines(f"# {line}\n" for line in summary)
    return text.getvalue()


def _summary(rows: list[Row]) -> Iterator[str]:
    """Yield lines with the number of files per way, and per way and reason; numbers within reasons are left out."""
    for title, at in (("without an index", 1), ("with an index", 3)):
        ways = Counter(row[at] for row in rows)
        yield f"{len(rows)} files {title}: " + ", ".join(f"{count} {way}" for way, count in ways.most_common())
        reasons = Counter((row[at], _NUMBER.sub("N", row[at + 1])) for row in rows if row[at + 1])
        for (way, reason), count in sorted(reasons.items(), key=lambda item: (item[0][0], -item[1], item[0][1])):
            yield f"  {count} {way}: {reason}"


if __name__ == "__main__":
    main()
