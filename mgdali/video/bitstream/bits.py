"""Reading headers bit by bit."""

from __future__ import annotations

__all__ = ["Bits"]


class Bits:
    """A reader of bits, from the most significant bit of each byte.

    Args:
        content: The bytes.

    Raises:
        ValueError: From the methods, if the content ends too early.
    """

    def __init__(self, content: bytes) -> None:
        self._value = int.from_bytes(content, "big")
        self._left = 8 * len(content)

    def read(self, count: int = 1) -> int:
        """Return the next ``count`` bits as a number."""
        if count > self._left:
            raise ValueError("the header ends too early")
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1)

    def skip(self, count: int) -> None:
        """Skip ``count`` bits."""
        self.read(count)

    def golomb(self) -> int:
        """Return the next number in Exp-Golomb code: ``ue(v)`` of H.264 and HEVC, ``uvlc()`` of AV1."""
        zeros = 0
        while not self.read():
            zeros += 1
            if zeros > 32:
                raise ValueError("the header contains a number that is too large")
        return (1 << zeros) - 1 + self.read(zeros)
