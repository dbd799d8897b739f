"""Small versions of the paper's tables: planned once, trained, resumed, and summarized with intervals."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.benchmark_modules import script
from tests.support.torch_threads import one_torch_thread

# Nothing of the package is tested here.
pytestmark = pytest.mark.slow

TINY = ["--epochs", "1", "--most-epochs", "2", "--train-per-class", "2", "--val-per-class", "1", "--jobs", "1"]


@pytest.fixture(scope="module")
def ablation() -> Iterator[Any]:
    with one_torch_thread():
        yield script("ablation")


@pytest.fixture(scope="module")
def tables() -> Any:
    return script("ablation_tables")


@pytest.fixture(scope="module")
def results() -> Any:
    return script("ablation_results")


@pytest.fixture(scope="module")
def training(ablation: Any) -> Any:
    return script("ablation_training")


@pytest.fixture(scope="module")
def trained(ablation: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of Table 3, with two seeds."""
    folder = tmp_path_factory.mktemp("ablation")
    run_ablation(ablation, folder, "--tables", "3", "--seeds", "2")
    return folder


def run_ablation(ablation: Any, folder: Path, *arguments: str) -> Any:
    out = folder / "out.json"
    ablation.main([*TINY, "--out", str(out), "--data", str(folder), *arguments])
    return json.loads(out.read_text())


def result(sampler: str, seed: int, correct: list[int], model: str = "tsm", length: str = "fixed") -> dict[str, Any]:
    row = {"model": model, "sampler": sampler, "length": length, "seed": seed}
    return {**row, "accuracy": sum(correct) / len(correct), "correct": correct, "picks_in_burst": 2.0, "epochs": [{}]}


# --- Runs ------------------------------------------------------------------------------------------------------------


def test_each_run_of_a_table_is_trained_and_recorded(trained: Path) -> None:
    report = json.loads((trained / "out.json").read_text())
    samplers = ["segment", "stride", "top", "image 0.5"]
    assert [(run["sampler"], run["seed"]) for run in report["runs"]] == [(s, i) for i in range(2) for s in samplers]
    assert {"machine", "settings", "jobs", "tables", "targets"} <= set(report)
    assert {run["cpu"] for run in report["runs"]} == {report["machine"]["cpu"]}
    assert set(report["tables"]["3"]) == {"segment", "fixed stride", "top motion", "motion-guided"}
    for run in report["runs"]:
        assert run["epochs"][0].keys() == {"loss", "train_accuracy", "val_accuracy"}
        assert run["accuracy"] == run["epochs"][-1]["val_accuracy"]
        assert len(run["correct"]) == 8
        assert run["accuracy"] * 8 == sum(run["correct"])
        assert 0 < run["picks_in_burst"] < 8
        assert run["seconds"] > 0


def test_each_seed_has_its_own_videos(trained: Path) -> None:
    folders = sorted(path for path in trained.iterdir() if path.is_dir())
    assert [folder.name for folder in folders] == ["bursts-2-1-1", "bursts-2-1-2"]
    first, second = ((folder / "val" / "clockwise" / "000.mp4").read_bytes() for folder in folders)
    assert first != second


def test_recorded_runs_are_not_trained_again(
    ablation: Any,
    tables: Any,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "out.json").write_text((trained / "out.json").read_text())
    asked: list[Any] = []

    def train(parent: Path, settings: Any, run: Any) -> dict[str, Any]:
        asked.append(run)
        return result(run.sampler, run.seed, [0, 1] * 4) | {"seconds": 1.0}

    monkeypatch.setattr(ablation, "train", train)
    monkeypatch.setattr(ablation, "prepare", lambda *arguments: None)
    before = json.loads((tmp_path / "out.json").read_text())["runs"]
    report = run_ablation(ablation, tmp_path, "--tables", "2,3", "--seeds", "2")
    assert asked == [tables.Run("tsm", "feature 0.5", "fixed", seed) for seed in range(2)]
    assert report["runs"][:8] == before
    assert "2/2 tsm, feature 0.5, seed 1: 50.0 % after 1 epochs in 1 s; 0 min left" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="other settings"):
        run_ablation(ablation, tmp_path, "--epochs", "2")


def test_a_run_depends_only_on_settings_and_seed(tables: Any, training: Any, trained: Path) -> None:
    known = json.loads((trained / "out.json").read_text())
    settings = training.Settings(epochs=1, most_epochs=2, train_per_class=2, val_per_class=1)
    again = training.train(trained, settings, tables.Run("tsm", "image 0.5", "fixed", 1))
    (first,) = (run for run in known["runs"] if (run["sampler"], run["seed"]) == ("image 0.5", 1))
    varying = {"seconds": 0, "cpu": ""}
    assert again | varying == first | varying


def test_a_run_without_a_fixed_length_ends_at_the_largest_number_of_epochs(
    tables: Any, training: Any, trained: Path
) -> None:
    settings = training.Settings(epochs=1, most_epochs=2, train_per_class=2, val_per_class=1)
    run = training.train(trained, settings, tables.Run("tsm", "segment", "until flat", 0))
    assert len(run["epochs"]) == 2
    assert "val_accuracy" not in run["epochs"][0]


def test_a_run_ends_when_the_loss_has_not_fallen_by_a_percent_for_three_epochs(training: Any) -> None:
    flat = training.Flatness(training.Settings())
    losses = [2.0, 1.0, 0.995, 1.5, 0.98, 0.979, 0.975, 0.972]
    ended = []
    for loss in losses:
        flat.add(loss)
        ended.append(flat.ended)
    # 0.98 is 1.5 % below the least so far, 0.995. The three losses after it are all above 0.9702.
    assert ended == [False] * 7 + [True]


def test_runs_that_tables_share_are_planned_once(tables: Any) -> None:
    runs = tables.plan([3, 2, 1, 4], 3)
    assert len(runs) == len(set(runs)) == 3 * (4 + 1 + 5 + 6)
    assert [run.sampler for run in runs[:5]] == ["segment", "stride", "top", "image 0.5", "segment"]
    assert {(run.model, run.length) for run in runs[:-18]} == {("tsm", "fixed")}
    assert {run.length for run in runs[-18:]} == {"until flat"}


def test_every_row_has_a_strategy_of_eight_frames(tables: Any) -> None:
    rows = [row for table in tables.TABLES.values() for row in table.rows.values()]
    assert {row.sampler for row in rows} == set(tables.SAMPLERS)
    assert all(sampler.num_frames == tables.NUM_FRAMES == 8 for sampler in tables.SAMPLERS.values())


def test_runs_are_trained_in_parallel(ablation: Any) -> None:
    assert sorted(ablation.in_parallel([1, 2, 3], operator.neg, 2)) == [-3, -2, -1]


@pytest.mark.parametrize("name", ["epochs", "most_epochs", "train_per_class", "batch_size", "first_data_seed"])
def test_errors_name_settings_that_are_out_of_range(training: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be an integer"):
        training.Settings(**{name: -1})


def test_fewer_videos_than_a_batch_are_an_error(training: Any) -> None:
    with pytest.raises(ValueError, match="batch_size must be at most"):
        training.Settings(train_per_class=1)


# --- Results ---------------------------------------------------------------------------------------------------------


def test_the_interval_of_one_seed_is_that_of_a_mean_of_videos(results: Any) -> None:
    values = np.random.default_rng(1).normal(50, 10, 400)
    low, high = results.interval([values])
    half = 1.96 * values.std() / 20
    np.testing.assert_allclose([low, high], [values.mean() - half, values.mean() + half], atol=0.1)


def test_the_interval_includes_the_choice_of_the_seed(results: Any) -> None:
    # All videos of a seed are equal, so only the seeds differ.
    assert results.interval([[0.0] * 9, [100.0] * 9]) == (0.0, 100.0)
    assert results.interval([[50.0] * 9, [50.0] * 9]) == (50.0, 50.0)


def test_tables_give_accuracies_and_leads_over_segment_sampling_with_the_same_model(results: Any) -> None:
    runs = [
        result("segment", 0, [0, 0, 1, 1]),
        result("segment", 1, [0, 1, 1, 1]),
        result("top", 0, [0, 0, 0, 1]),
        result("segment", 0, [1, 1, 1, 1], "tea", "until flat"),
        result("image 0.5", 0, [1, 1, 1, 0], "tea", "until flat"),
    ]
    found = results.tables(runs)
    assert list(found[3]) == ["segment", "top motion"]
    assert (found[3]["segment"]["accuracy"], found[3]["segment"]["lead"], found[3]["segment"]["seeds"]) == (62.5, 0, 2)
    # Only seed 0 has both.
    assert (found[3]["top motion"]["accuracy"], found[3]["top motion"]["lead"]) == (25.0, -25.0)
    assert list(found[4]) == ["TEA, segment", "TEA, motion-guided"]
    assert found[4]["TEA, motion-guided"]["lead"] == -25.0
    low, high = found[3]["top motion"]["lead_interval"]
    assert low < -25.0 < high <= 0
    text = results.markdown(runs)
    assert "| top motion | 25.0 |" in text
    assert "| fixed stride |" not in text


@pytest.mark.parametrize(("correct", "met"), [([1, 1, 1, 1, 1, 1, 1, 0], "met"), ([0, 1, 0, 1, 1, 0, 0, 0], "missed")])
def test_a_lead_counts_if_its_interval_is_above_zero(results: Any, correct: list[int], met: str) -> None:
    pairs = [(result("image 0.5", seed, 8 * correct), result("segment", seed, [0, 1] * 32)) for seed in (0, 1)]
    runs = [run for pair in pairs for run in pair]
    (line,) = (line for line in results.markdown(runs).splitlines() if line.startswith("motion-guided over segment"))
    assert line.endswith(met)


def test_a_result_is_found_again_in_the_file(results: Any, tables: Any, tmp_path: Path) -> None:
    file = results.ResultsFile(tmp_path / "out.json", {"epochs": 1})
    run = tables.Run("tsm", "top", "fixed", 3)
    assert run not in file
    file.add(result("top", 3, [0, 1]), jobs=2)
    again = results.ResultsFile(tmp_path / "out.json", {"epochs": 1})
    assert run in again
    assert tables.Run(**asdict(run) | {"length": "until flat"}) not in again


def test_tables_are_drawn(trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    script("ablation_plots").plot(json.loads((trained / "out.json").read_text())["runs"], tmp_path / "plots")
    names = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert names == [f"ablation-table{number}.png" for number in (1, 2, 3)]
