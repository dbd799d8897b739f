"""Packing that is killed many times and resumed: ``python benchmarks/pack_kills.py --help``.

``mgdali pack`` runs in a separate process group, to which SIGKILL is sent at a random moment. After each kill, the
files of the unfinished pack tell which videos are packed. A video that was packed before and is not now is lost; a
video that is packed twice is repeated. At the end the command runs until it ends, and each file of the pack must equal,
byte for byte, that of a pack made in one run. If a pack is complete before all kills have happened, the next is begun.

Kills come in three phases of a run, each at a random moment: at any moment of a whole run, soon after the run's first
video, and after its last video, while the index, the table and the manifest are written.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Run the package of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pyarrow as pa
import pyarrow.parquet as pq
from command import clips_folder, say, write_report
from figures import heading, spread, target, target_rows

from mgdali.bench import machine
from mgdali.datasets.pack_format import INDEX, MANIFEST, TABLE

_ROOT = Path(__file__).resolve().parents[1]
PHASES = ANY, PACKING, END = "any", "packing", "end"
STAGING = ".packing"
"""Folder of an unfinished pack with its journals and unfinished shards."""
ATTEMPTS = 20
"""Number of tries per kill at the end of a run, because a run may end before it is killed."""
SHARES = (0.8, 0.6, 0.4, 0.2)
"""Shares of the videos that are packed already when a run begins that is killed at its end: the first one possible."""
_POLL_SECONDS = 0.02

Videos = Counter[tuple[str, int]]
"""How often each video is packed: by the path of the original, and the number of earlier videos with the same path."""


@dataclass(frozen=True)
class Kill:
    """One kill and what the pack contained after it.

    Attributes:
        seconds: Time from the start of the process to the kill.
        phase: Phase of the run, one of :data:`PHASES`.
        packed: Number of videos packed.
        lost: Number of videos that were packed before the run and are not now.
        repeated: Number of videos that are packed twice.
        left_processes: Number of processes of the group that still run a second after the kill.
    """

    seconds: float
    phase: str
    packed: int
    lost: int
    repeated: int
    left_processes: int


@dataclass(frozen=True)
class Whole:
    """Times of a run without kills, in seconds from its start.

    Attributes:
        first: First packed video.
        last: Last packed video.
        end: End of the process.
        videos: Number of packed videos.
    """

    first: float
    last: float
    end: float
    videos: int


@dataclass(frozen=True)
class Command:
    """The command, without the folder of the pack.

    Attributes:
        data: Folder or list of the videos.
        options: Further arguments.
    """

    data: str
    options: tuple[str, ...]

    def start(self, out: Path) -> subprocess.Popen[bytes]:
        """Start the command in a separate process group."""
        command = [sys.executable, "-m", "mgdali", "pack", self.data, "--out", str(out), *self.options]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])}
        return subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=environment,
        )


# --- What is packed --------------------------------------------------------------------------------------------------


def packed_videos(out: Path) -> Videos:
    """Return the videos in a pack, complete or not."""
    if (out / MANIFEST).exists():
        origins = pq.read_table(out / TABLE, columns=["origin"]).column("origin").to_pylist()
        return Counter(_numbered(origins))
    staging, found = out / STAGING, Counter[tuple[str, int]]()
    for rows in sorted(staging.glob("shard-*.rows.parquet")):
        found.update(_videos_of(pq.read_table(rows, columns=["occurrence", "error", "video"])))
    for journal in sorted(staging.glob("shard-*.tar.journal")):
        # A finished shard has both for a moment.
        if not (staging / f"{journal.name.removesuffix('.journal')}.rows.parquet").exists():
            for batch in _batches(journal):
                found.update(_videos_of(pa.Table.from_batches([batch])))
    return found


def _numbered(origins: Sequence[str]) -> Iterator[tuple[str, int]]:
    count: Counter[str] = Counter()
    for origin in origins:
        yield origin, count[origin]
        count[origin] += 1


def _batches(journal: Path) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a journal. The last one may be incomplete."""
    with suppress(pa.ArrowException, OSError, EOFError), pa.ipc.open_stream(journal.read_bytes()) as stream:
        yield from stream


def _videos_of(rows: pa.Table) -> list[tuple[str, int]]:
    columns = (rows.column(name).to_pylist() for name in ("occurrence", "error", "video"))
    return [(video["origin"], occurrence) for occurrence, error, video in zip(*columns, strict=True) if error is None]


def differences(out: Path, whole: Path) -> list[str]:
    """Return the names of files that two packs do not have in common, or that differ."""
    names = {path.relative_to(root).as_posix() for root in (out, whole) for path in root.rglob("*") if path.is_file()}
    assert {MANIFEST, TABLE, INDEX} <= names
    _, different, missing = filecmp.cmpfiles(out, whole, sorted(names), shallow=False)
    return [*different, *missing]


# --- Runs ------------------------------------------------------------------------------------------------------------


def run_whole(command: Command, out: Path, videos: int | None = None) -> Whole:
    """Run the command to its end, and watch its files.

    Args:
        command: The command.
        out: Folder of the pack.
        videos: Number of videos in the complete pack, after which the files are not read any more; None if unknown.
    """
    start = time.perf_counter()
    first = last = 0.0
    count = 0
    process = command.start(out)
    while process.poll() is None:
        if videos is None or count < videos:
            found, now = _count(out), time.perf_counter() - start
            if found > count:
                first, last, count = first or now, now, found
        time.sleep(_POLL_SECONDS)
    end = time.perf_counter() - start
    _check_end(process, out)
    return Whole(first, last, end, sum(packed_videos(out).values()))


def _count(out: Path) -> int:
    # The files may be moved or removed while they are read.
    with suppress(OSError, pa.ArrowException):
        return sum(packed_videos(out).values())
    return 0


def run_killed(
    command: Command, out: Path, seconds: float, *, after: int | None = None, phase: str = ANY
) -> Kill | None:
    """Run the command and kill it after some time. Return None if it ended before.

    Args:
        command: The command.
        out: Folder of the pack, complete or not.
        seconds: Time to the kill, from the start of the process.
        after: If not None, the time counts from the moment at which so many videos are packed.
        phase: Phase that is noted.
    """
    before = packed_videos(out)
    start = time.perf_counter()
    process = command.start(out)
    while after is not None and process.poll() is None and _count(out) < after:
        time.sleep(_POLL_SECONDS)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass
    else:
        _check_end(process, out)
        return None
    took = time.perf_counter() - start
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    now = packed_videos(out)
    return Kill(
        seconds=took,
        phase=phase,
        packed=len(now),
        lost=sum((before - now).values()),
        repeated=sum(count - 1 for count in now.values()),
        left_processes=_left(process.pid),
    )


def _left(group: int) -> int:
    """Return the number of processes of a group that still run after at most a second."""
    end = time.monotonic() + 1
    while alive := _alive(group):
        if time.monotonic() > end:
            break
        time.sleep(_POLL_SECONDS)
    return alive


def _alive(group: int) -> int:
    count = 0
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            # State, parent, process group. A zombie does nothing.
            count += entry.name.isdigit() and int(fields[2]) == group and fields[0] != "Z"
    return count


def _check_end(process: subprocess.Popen[bytes], out: Path) -> None:
    """Wait for the end of the command, and end this one if the pack is not complete."""
    _, errors = process.communicate()
    # The exit code is 1 if a video cannot be decoded, and also after an error.
    if process.returncode not in (0, 1) or not (out / MANIFEST).exists():
        raise SystemExit(f"pack_kills.py: mgdali pack ended with {process.returncode}: {errors.decode()[-500:]}")


def measure(command: Command, scratch: Path, kills: int, at_end: int, seed: int) -> dict[str, Any]:
    """Return the report.

    Args:
        command: The command.
        scratch: Empty folder.
        kills: Number of kills.
        at_end: Number of these that come after the last video.
        seed: Seed of the moments.
    """
    moments, reference = random.Random(seed), scratch / "whole"
    say("one run without kills")
    whole = run_whole(command, reference)
    # With so much time after its first video, a run packs this share of the videos on average.
    step = 2 * (whole.last - whole.first) / max(1, (kills - at_end) // 2)
    found: list[Kill] = []
    packs: list[dict[str, Any]] = []
    out = scratch / "killed"
    while len(found) < kills - at_end:
        if len(found) % 2:
            more = sum(packed_videos(out).values()) + 1
            kill = run_killed(command, out, moments.uniform(0, step), after=more, phase=PACKING)
        else:
            kill = run_killed(command, out, moments.uniform(0, whole.end))
        if kill is None:
            packs.append(_compared(command, out, reference, found))
        else:
            _add(found, kill, whole)
    if out.exists():
        packs.append(_compared(command, out, reference, found))
    begun = scratch / "begun"
    if at_end:
        _begin(command, begun, whole.videos)
    while len(found) < kills:
        _add(found, _killed_at_end(command, begun, out, whole, moments), whole)
        packs.append(_compared(command, out, reference, found))
    return _report(command, seed, whole, found, packs)


def _begin(command: Command, out: Path, videos: int) -> None:
    """Make a pack that lacks the last videos only."""
    for share in SHARES:
        wanted = max(1, int(share * videos))
        if run_killed(command, out, 0, after=wanted) and sum(packed_videos(out).values()) < videos:
            return
        shutil.rmtree(out)
    # A few short videos are packed all at once.
    out.mkdir()


def _killed_at_end(command: Command, begun: Path, out: Path, whole: Whole, moments: random.Random) -> Kill:
    """Continue a copy of a begun pack, and kill the run after its last video.

    If the run ends before it is killed, it is tried again with an earlier moment.
    """
    for attempt in range(ATTEMPTS):
        shutil.copytree(begun, out)
        seconds = moments.uniform(0, whole.end - whole.last) / (attempt + 1)
        kill = run_killed(command, out, seconds, after=whole.videos, phase=END)
        if kill is not None:
            return kill
        shutil.rmtree(out)
    raise SystemExit(f"pack_kills.py: {ATTEMPTS} runs ended before they were killed: use more videos or less --at-end")


def _add(found: list[Kill], kill: Kill, whole: Whole) -> None:
    found.append(kill)
    say(
        f"kill {len(found)} ({kill.phase}) after {kill.seconds:.2f} s: {kill.packed} of {whole.videos} videos packed, "
        f"{kill.lost} lost, {kill.repeated} repeated"
    )


def _compared(command: Command, out: Path, reference: Path, kills: list[Kill]) -> dict[str, Any]:
    """Run the command to its end, compare the pack with the one of a single run, and remove it."""
    _check_end(command.start(out), out)
    different = differences(out, reference)
    say(f"pack complete: {f'{len(different)} files differ' if different else 'equal to that of a single run'}")
    shutil.rmtree(out)
    return {"kills_before": len(kills), "different_files": different}


def _report(
    command: Command, seed: int, whole: Whole, kills: list[Kill], packs: list[dict[str, Any]]
) -> dict[str, Any]:
    lost, repeated = sum(kill.lost for kill in kills), sum(kill.repeated for kill in kills)
    different = sum(bool(pack["different_files"]) for pack in packs)
    return {
        "benchmark": "pack_kills",
        "machine": machine.facts(),
        "options": list(command.options),
        "seed": seed,
        "whole": asdict(whole),
        "kills": [asdict(kill) for kill in kills],
        "seconds_to_a_kill": spread([kill.seconds for kill in kills]),
        "packs": packs,
        "targets": [
            target("lost videos", lost, "<=", 0),
            target("repeated videos", repeated, "<=", 0),
            target("packs that differ from that of a single run", different, "<=", 0),
            target("processes left after a kill", sum(kill.left_processes for kill in kills), "<=", 0),
        ],
    }


def rendered(report: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    kills, packs = report["kills"], report["packs"]
    phases = ", ".join(f"{sum(kill['phase'] == phase for kill in kills)} {phase}" for phase in PHASES)
    about = (
        f"{heading(report)}; {report['whole']['videos']} videos, {' '.join(report['options'])}; {len(kills)} kills "
        f"(seed {report['seed']}): {phases}; "
        f"{len(packs)} packs were completed"
    )
    return f"{about}\n\n{target_rows(report)}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("data", nargs="?", metavar="DATA", help="Videos, as `mgdali pack` takes them (default: the sample videos).")
    add("--kills", type=int, default=50, help="Number of kills (default: %(default)s).")
    add("--at-end", type=int, default=10, help="Number of kills after the last video (default: %(default)s).")
    add("--num-workers", type=int, default=2, help="Number of workers of the command (default: %(default)s).")
    add("--shard-size", default="1MiB", help="Small, so that many shards are finished (default: %(default)s).")
    add("--seed", type=int, default=0, help="Seed of the moments (default: %(default)s).")
    add(
        "--folder", type=Path, metavar="DIR", help="Folder in which a temporary folder is made (default: the system's)."
    )
    add("--out", type=Path, metavar="FILE.json", help="File to write the results to.")
    given = parser.parse_args(arguments)
    if not 0 <= given.at_end <= given.kills or given.kills < 1:
        parser.error("--kills must be at least 1, and --at-end from 0 to --kills")
    data = given.data or str(clips_folder(None))
    command = Command(data, ("--num-workers", str(given.num_workers), "--shard-size", given.shard_size))
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        report = measure(command, Path(scratch), given.kills, given.at_end, given.seed)
    write_report(report, given.out)
    print(rendered(report))


if __name__ == "__main__":
    main()
