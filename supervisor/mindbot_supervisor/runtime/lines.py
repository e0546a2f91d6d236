"""Cuts a byte stream into lines without ever holding more than one line's worth of it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Lines:
    """A line longer than `longest` bytes is cut there, and what follows up to its newline is dropped."""

    longest: int
    _held: bytearray = field(default_factory=bytearray)
    _skipping: bool = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes. An overlong one is given as its first `longest` + 1 bytes."""
        if data.endswith(b"\n") and len(data) <= self.longest and not self._held and not self._skipping:
            return data[:-1].split(b"\n")  # nearly always
        found: list[bytes] = []
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._take(piece, found)
            if not self._skipping:
                found.append(bytes(self._held))
            self._held.clear()
            self._skipping = False
        self._take(rest, found)
        return found

    def _take(self, piece: bytes, found: list[bytes]) -> None:
        if self._skipping:
            return
        self._held += piece
        if len(self._held) > self.longest:
            found.append(bytes(self._held[: self.longest + 1]))
            self._held.clear()
            self._skipping = True

    def peek(self) -> bytes:
        """What came after the last newline; it is kept."""
        return b"" if self._skipping else bytes(self._held)

    def rest(self) -> bytes:
        """What came after the last newline; for the end of the stream."""
        held = bytes(self._held)
        self._held.clear()
        return held
