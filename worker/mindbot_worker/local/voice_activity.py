"""When somebody speaks: by the level of each 20 ms against a noise floor that follows the room."""

from __future__ import annotations

from collections import deque

import numpy as np

from mindbot_worker.local.features import Floats

FRAME_SECONDS = 0.02
FRAMES_FOR_ONSET = 5
"""How far back speech is looked for: a click is over within three frames, a syllable is not."""

_ABOVE_FLOOR_DB = 12.0
_FLOOR_MIN, _FLOOR_MAX = -70.0, -45.0
# Nobody speaks for longer without a gap of 20 ms; until some frames are in, a quiet room is assumed.
_FLOOR_FRAMES, _FLOOR_FRAMES_LEAST, _FLOOR_AT_FIRST = 150, 10, -55.0
_SILENCE_DB = -90.0
_LOUD_FOR_ONSET = 4


class VoiceActivity:
    """Told one frame after the other; afterwards `loud`, `onset` and `quiet_for` say how things stand."""

    def __init__(self) -> None:
        self.loud = False
        self.quiet_for = 0.0
        """Seconds since the last loud frame."""
        self._levels: deque[float] = deque(maxlen=_FLOOR_FRAMES)
        self._recent: deque[bool] = deque(maxlen=FRAMES_FOR_ONSET)

    def hear(self, frame: Floats) -> None:
        level = level_db(frame)
        self._levels.append(level)
        self.loud = level > self._floor() + _ABOVE_FLOOR_DB
        self.quiet_for = 0.0 if self.loud else self.quiet_for + FRAME_SECONDS
        self._recent.append(self.loud)

    def _floor(self) -> float:
        """The quietest of the last three seconds is what the room sounds like."""
        if len(self._levels) < _FLOOR_FRAMES_LEAST:
            return _FLOOR_AT_FIRST
        return min(max(min(self._levels), _FLOOR_MIN), _FLOOR_MAX)

    @property
    def onset(self) -> bool:
        """Speech has begun, within the last few frames."""
        return sum(self._recent) >= _LOUD_FOR_ONSET


def level_db(frame: Floats) -> float:
    """RMS in dB below full scale."""
    power = float(np.mean(np.square(frame))) if len(frame) else 0.0
    return max(10 * float(np.log10(power)), _SILENCE_DB) if power > 0 else _SILENCE_DB
