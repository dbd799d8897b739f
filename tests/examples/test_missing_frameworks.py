"""The examples of training frameworks, without these frameworks."""

from __future__ import annotations

import importlib
import sys

import pytest


@pytest.mark.parametrize(
    ("example", "missing", "message"),
    [
        ("lightning_module", "lightning", r"this example needs Lightning .*: pip install lightning"),
        ("accelerate_loop", "accelerate", r"this example needs Accelerate .*: pip install accelerate"),
        ("hf_trainer", "transformers", r"this example needs Transformers .*: pip install transformers accelerate"),
    ],
)
def test_an_example_names_the_package_to_install(
    monkeypatch: pytest.MonkeyPatch, example: str, missing: str, message: str
) -> None:
    # Another test may have imported it.
    monkeypatch.delitem(sys.modules, example, raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=message):
        importlib.import_module(example)
