"""The results of ``reproduce_table2.py``: the file ``table2.json`` and the printed table."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from table2_rows import ROWS, Row, Run
from train_options import Options

__all__ = ["ResultsFile", "read_result", "table"]

# torchvision's file of ImageNet weights of a ResNet-50, version 1, has a SHA-256 that begins with these digits.
V1_WEIGHTS = "0676ba61"


class ResultsFile:
    """``table2.json``: what all runs have in common, and the result of each finished run.

    Args:
        path: Path of the file. Results that it already contains are kept.
        common: What all runs have in common, as JSON values.
        changed: Settings of ``common`` that are not the defaults: name to the default and the value.

    Raises:
        ValueError: If the file was written with other settings, or is not such a file.
    """

    def __init__(self, path: Path, common: dict[str, Any], changed: dict[str, list[str]]) -> None:
        self.path = path
        self.content: dict[str, Any] = {**common, "changed": changed, "replaced_videos": 0, "runs": {}}
        if not path.exists():
            return
        try:
            found = json.loads(path.read_text())
            runs, replaced = dict(found["runs"]), int(found["replaced_videos"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a file of results: remove it, or pass another --out") from error
        differing = "; ".join(_differences(common, found))
        if differing:
            raise ValueError(
                f"{path} has other settings ({differing}): give the former ones, or pass another --out, with --index "
                "to use the same motion index"
            )
        self.content |= {"replaced_videos": replaced, "runs": runs}

    @property
    def runs(self) -> dict[str, dict[str, Any]]:
        """Results by the names of the runs."""
        found: dict[str, dict[str, Any]] = self.content["runs"]
        return found

    def begin(self, replaced_videos: int) -> None:
        """Write the settings, so that a later command with other settings finds them before the first result.

        Args:
            replaced_videos: Number of videos that cannot be decoded and are replaced by others.
        """
        self.content["replaced_videos"] = replaced_videos
        self._write()

    def add(self, run: Run, result: dict[str, Any]) -> None:
        """Add the result of a run."""
        self.runs[run.name] = result
        self._write()

    def _write(self) -> None:
        """Write the file under another name and rename it, so that it is complete at any time."""
        unfinished = self.path.with_name(f"{self.path.name}.unfinished")
        unfinished.write_text(json.dumps(self.content, indent=1) + "\n")
        unfinished.replace(self.path)


def _differences(now: dict[str, Any], before: dict[str, Any], group: str = "") -> Iterator[str]:
    """Yield the values that differ, each as ``name before -> now``."""
    for name in now | before if group else now:
        new, old = now.get(name), before.get(name)
        if isinstance(new, dict) and isinstance(old, dict):
            yield from _differences(new, old, f"{name}.")
        elif new != old:
            yield f"{group}{name} {old} -> {new}"


def read_result(run: Path, options: Options) -> dict[str, Any]:
    """Return the accuracy of a run after its last epoch.

    Raises:
        ValueError: If the run has not reached its last epoch.
        OSError: If its metrics cannot be read.
    """
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    tests = [entry for entry in entries if "test/top1" in entry]
    if len(tests) != options.epochs:
        raise ValueError(f"{run} has tested {len(tests)} of {options.epochs} epochs: run the same command again")
    last = tests[-1]
    top1, top5 = last["test/top1"], last["test/top5"]
    if options.test_views.count > 1:
        views = next(entry for entry in reversed(entries) if "views/top1" in entry)
        top1, top5 = views["views/top1"], views["views/top5"]
    return {"top1": top1, "top5": top5, "loss": last["epoch/loss"], "steps": last["step"]}


def table(options: Options, file: ResultsFile, seeds: Sequence[int]) -> Iterator[str]:
    """Yield the lines of the table: means over the seeds, in percent, and what to know about them."""
    videos = file.content["videos"]
    views = "one clip and the centre crop"
    if options.test_views.count > 1:
        views = f"{options.test_clips} clips x {options.test_crops} crops"
    yield ""
    yield f"Table 2 on {options.dataset}: {options.model} on {options.backbone}, {options.num_frames} frames"
    yield f"{videos['train']} training videos, {videos['test']} test videos, {views} of each"
    yield f"{'':<30}{'top-1':>8}{'top-5':>8}{'over segment':>14}{'seeds':>7}{'spread':>8}"
    base = _mean(file, ROWS[0], seeds, "top1")
    for row in ROWS:
        top1, top5 = (_mean(file, row, seeds, name) for name in ("top1", "top5"))
        spread = f"{statistics.stdev(_values(file, row, seeds, 'top1')):.1f}" if len(seeds) > 1 else "-"
        over = "" if row is ROWS[0] else f"{top1 - base:+.1f}"
        yield f"{row.title:<30}{top1:>8.1f}{top5:>8.1f}{over:>14}{len(seeds):>7}{spread:>8}"
    yield from _notes(file, [Run(row, seed) for row in ROWS for seed in seeds], several=len(seeds) > 1)
    yield f"Results: {file.path}"


def _notes(file: ResultsFile, runs: Sequence[Run], *, several: bool) -> Iterator[str]:
    """Yield what limits the comparison with the paper, or of the rows with each other."""
    weights, replaced = file.content["weights"], file.content["replaced_videos"]
    gpus = sorted({file.runs[run.name]["gpus"] for run in runs})
    if several:
        yield "spread: standard deviation of top-1 over the seeds, in points."
    else:
        yield "One seed: how far accuracies differ by chance from run to run is not known (--seeds 0,1,2)."
    if weights is None:
        yield "Trained from scratch, without ImageNet weights: not comparable with the paper."
    elif not weights["sha256"].startswith(V1_WEIGHTS):
        yield f"Other weights: {weights['file']} is not torchvision's resnet50-{V1_WEIGHTS}.pth (ImageNet, version 1)."
    if replaced:
        yield f"Replaced videos: {replaced} cannot be decoded. Others of the same split replaced them."
    if len(gpus) > 1:
        yield f"The runs had different numbers of GPUs ({gpus}). Batch normalization uses the clips of one GPU."
    for name, (default, now) in file.content["changed"].items():
        yield f"Changed setting: {name} is {now} instead of {default}."


def _values(file: ResultsFile, row: Row, seeds: Sequence[int], name: str) -> list[float]:
    return [100 * file.runs[Run(row, seed).name][name] for seed in seeds]


def _mean(file: ResultsFile, row: Row, seeds: Sequence[int], name: str) -> float:
    return statistics.mean(_values(file, row, seeds, name))
