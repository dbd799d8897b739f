"""The position of a loader in its run: the current epoch, the start of the next iteration, resuming from a state."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mgdali.errors import check_integer
from mgdali.loading.order import WHOLE, EpochOrder, Share

__all__ = ["EpochSetter", "Progress", "Start"]

# States of loaders whose epochs contain chosen videos have the later version: version 2 would ignore the choice.
_VERSION, _VERSION_CHOSEN = 2, 3
# In the order in which they are compared: the first difference is reported, and the first ones explain later ones.
_IDENTITY = ("num_videos", "order", "samples_per_epoch", "weights", "shuffle", "drop_last", "seed")


class EpochSetter:
    """The interface through which Lightning sets the epoch of a torch ``DataLoader``: ``batch_sampler.sampler``.

    Lightning restores no loader state from a checkpoint that was saved between two epochs. But before each epoch it
    calls ``set_epoch`` of the sampler of a loader's ``batch_sampler``.

    Args:
        set_epoch: The loader's method.
        batch_size: Number of videos per batch.
    """

    def __init__(self, set_epoch: Callable[[int], None], batch_size: int) -> None:
        self.set_epoch = set_epoch
        self.batch_size = batch_size

    @property
    def sampler(self) -> EpochSetter:
        """This object: it takes the place of both samplers."""
        return self


class Start(NamedTuple):
    """The place at which an iteration begins.

    Attributes:
        epoch: The epoch.
        share: This process's share of the videos.
        taken: Number of videos of this epoch that all ranks together have loaded before.
    """

    epoch: int
    share: Share
    taken: int


class Progress:
    """Epochs and batches of a loader.

    Args:
        order: Order of the videos.
        find_share: Returns this process's share of the videos. It is called when an iteration begins.

    Attributes:
        running: Token of the epoch that is being iterated; None between epochs. An epoch that the caller left early
            keeps its token until the next iteration begins.
    """

    def __init__(self, order: EpochOrder, find_share: Callable[[], Share]) -> None:
        self._order = order
        self._find_share = find_share
        self._epoch = 0
        # Videos of this epoch that all ranks together have loaded.
        self._taken = 0
        self._share = WHOLE
        # Whether set_epoch() chose the epoch of the next iteration.
        self._chosen = False
        # Whether this epoch was begun in this process, and has not ended.
        self._begun = False
        self.running: object | None = None

    @property
    def epoch(self) -> int:
        """The current epoch; between epochs the one that the next iteration yields."""
        return self._epoch + (self.running is None and not self._chosen and self._is_complete())

    def next_start(self) -> Start:
        """Return where the next iteration begins: in the chosen epoch, in a loaded state's, or in the next one."""
        if self._chosen and self._is_complete():
            warnings.warn(
                f"set_epoch({self._epoch}): all batches of this epoch were yielded before the loaded state was saved, "
                "so this iteration yields none. To resume, loop over range(loader.epoch, epochs)",
                RuntimeWarning,
                stacklevel=4,
            )
        elif not self._chosen:
            self._leave_epoch()
        return Start(self._epoch, self._find_share(), self._taken)

    def begin(self, start: Start) -> object:
        """Note that an iteration has begun, and return its token."""
        self._share = start.share
        self._chosen = False
        self._begun = True
        self.running = object()
        return self.running

    def count_batch(self) -> None:
        """Note that a batch was yielded."""
        self._taken = self._order.taken_after(self._epoch, self._share, self._taken, 1)

    def end(self) -> None:
        """Note that the running epoch has ended."""
        self._go_to(self._epoch + 1)

    def stop(self) -> None:
        """End the running epoch early. The next iteration yields the next epoch."""
        self.running = None

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration. The epoch of a loaded state continues where the state was taken."""
        check_integer("epoch", epoch, least=0)
        if epoch != self._epoch or self._begun:
            self._go_to(int(epoch))
        self._chosen = True

    def skip(self, batches: int) -> None:
        """Let the next iteration begin ``batches`` later."""
        check_integer("n", batches, least=0)
        if not self._chosen:
            self._leave_epoch()
        share = self._find_share()
        left = self._order.num_batches(self._epoch, share, self._taken)
        if batches > left:
            raise ValueError(f"cannot skip {batches} batches: epoch {self._epoch} has {left} batches left on this rank")
        if batches:
            self._taken = self._order.taken_after(self._epoch, share, self._taken, batches)
        self._chosen = False

    def state(self) -> dict[str, Any]:
        """Return the position after the batches that were yielded."""
        version = _VERSION if self._order.chosen is None else _VERSION_CHOSEN
        position = {"version": version, "epoch": self._epoch, "videos": self._taken, **self._order.identity}
        # Before an epoch's first batch, its order is not settled.
        digest = self._order.digest(self._epoch) if self._taken else None
        return position if digest is None else {**position, "order_digest": digest}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from a state.

        Raises:
            ValueError: If the state is not one of a loader, or belongs to a loader with another order.
        """
        position = {"epoch", "videos"} if "version" in state else {"epoch"}
        if state.get("version", 1) not in (1, _VERSION, _VERSION_CHOSEN) or position - state.keys():
            raise ValueError(
                f"this is not a state that this version of mgdali can load: version {state.get('version')!r}, keys "
                f"{sorted(map(str, state))}; pass what state_dict() returned, or update mgdali"
            )
        identity = self._order.identity
        for name in _IDENTITY:
            if state.get(name) != identity.get(name):
                raise ValueError(
                    f"the state was taken with {_setting(name, state)}, this loader has {_setting(name, identity)}: "
                    "create the loader with the same value to resume"
                )
        epoch = int(state["epoch"])
        if "order_digest" in state and state["order_digest"] != self._order.digest(epoch):
            raise ValueError(
                f"order({epoch}) returns other indices than when the state was taken in the middle of this epoch: it "
                "must return the same ones to resume"
            )
        self._go_to(epoch)
        self._taken = _videos_of(state, self._order)
        self._chosen = False

    def _is_complete(self) -> bool:
        """Whether all batches of the epoch were yielded."""
        return self._taken > 0 and self._order.num_batches(self._epoch, self._find_share(), self._taken) == 0

    def _leave_epoch(self) -> None:
        """Go to the next epoch if the current one was begun in this process, or if all of its batches were yielded."""
        if self._begun or self._is_complete():
            self._go_to(self._epoch + 1)

    def _go_to(self, epoch: int) -> None:
        """Go to the start of an epoch."""
        self._epoch, self._taken, self._begun, self.running = epoch, 0, False, None


def _setting(name: str, settings: Mapping[str, Any]) -> str:
    """Return a setting as a part of a message."""
    value = settings.get(name)
    if name == "weights":
        return f"weights={value and f'(digest {value})'}"
    if name == "order":
        return f"order={value and '(a function)'}"
    return f"{name}={value!r}"


def _videos_of(state: Mapping[str, Any], order: EpochOrder) -> int:
    """Return the number of videos that all ranks had loaded in the state's epoch."""
    if "version" in state:
        return int(state["videos"])
    # Version 0.1 counted the batches of one rank.
    before = EpochOrder(
        num_videos=order.num_videos, batch_size=int(state["batch_size"]), shuffle=order.shuffle,
        drop_last=order.drop_last, seed=order.seed,
    )  # fmt: skip
    batches = int(state["batch"])
    return before.taken_after(0, Share(0, int(state["world_size"])), 0, batches) if batches else 0
