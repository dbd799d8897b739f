"""Arguments of torch's ``DataLoader`` that a loader does not have, and what replaces each of them."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["check_torch_arguments"]

_REPLACEMENTS = {
    "pin_memory": 'with device="cuda" clips are on the GPU already; for CPU clips call clips.pin_memory()',
    "pin_memory_device": 'pass device="cuda:<index>" to get clips on that GPU',
    "persistent_workers": "workers always stay alive between epochs; close() ends them",
    "worker_init_fn": "workers run no code of yours except sampler.pick() and transform=; set seed= for their choices",
    "collate_fn": "batches are finished tensors: pass transform=, layout=, batch_keys=; or change batches in your loop",
    "generator": "all random choices follow from seed= and the epoch: pass an integer as seed=",
    "multiprocessing_context": "workers are always new processes, which run neither fork nor your script: remove it",
    "batch_sampler": "pass batch_size=, shuffle= and drop_last=; choose videos by weights=, order= or "
    "dataset.subset(indices)",
    "in_order": "batches always come in the order of the epoch: remove it",
}
# Values that describe what a loader does anyway.
_ACCEPTED: dict[str, tuple[Any, ...]] = {
    "pin_memory": (False,),
    "pin_memory_device": ("",),
    "persistent_workers": (True,),
    "worker_init_fn": (None,),
    "collate_fn": (None,),
    "generator": (None,),
    "multiprocessing_context": (None,),
    "batch_sampler": (None,),
    "in_order": (True,),
}


def check_torch_arguments(given: Mapping[str, Any], constructor: Callable[..., Any]) -> None:
    """Refuse keyword arguments that a loader does not have.

    Arguments of torch's ``DataLoader`` are accepted with a value that describes what a loader does in any case, such as
    ``persistent_workers=True``.

    Args:
        given: The further keyword arguments.
        constructor: The loader's constructor, whose argument names are suggested for a misspelled one.

    Raises:
        TypeError: If there is such an argument; the message says what replaces it.
    """
    for name, value in given.items():
        if name in _REPLACEMENTS:
            if any(value is accepted or value == accepted for accepted in _ACCEPTED[name]):
                continue
            raise TypeError(f"{name}={value!r} is not possible: {_REPLACEMENTS[name]}")
        similar = difflib.get_close_matches(name, inspect.signature(constructor).parameters, 1)
        hint = f"; did you mean {similar[0]}?" if similar else "; docs/arguments.md lists all arguments"
        raise TypeError(f"MGDaliIterator has no argument {name!r}{hint}")
