"""Passes on what happens to all who record it: log, flight records, metrics, usage and notices."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from mindbot_config.credentials import WEBHOOK_SECRET
from mindbot_config.load import Loaded
from mindbot_supervisor.core import log_events
from mindbot_supervisor.core.pool import Pool
from mindbot_supervisor.core.workers.model import Change, Ref, Sample
from mindbot_supervisor.daemon.configuration import from_settings
from mindbot_supervisor.monitoring.activities import Activities
from mindbot_supervisor.observability.flight_journal import FlightRecords
from mindbot_supervisor.observability.logging.log import Logs
from mindbot_supervisor.observability.metrics import Metrics
from mindbot_supervisor.observability.notifications import Notices
from mindbot_supervisor.observability.provider_usage import UsageBook
from mindbot_worker.protocol.heartbeat import Beat

DAY = 86400


class Reporting:
    """Owns the records of one run. All methods belong to the loop's thread."""

    def __init__(self, loaded: Loaded, logs: Logs, state_dir: Path, activities: Activities) -> None:
        self.logs, self._settings = logs, loaded.settings
        self.reactions: dict[str, Callable[[], None]] = {}
        """What else is done when an event of this name is told."""
        self.records = FlightRecords(
            state_dir,
            clean=logs.clean,
            transcripts=lambda: self._settings.log.log_transcripts,
            failed=lambda why: logs.note(log_events.JOURNAL_FAILED, "warning", detail=why),
            writing=activities.add("journal writer"),
        )
        self.usage = UsageBook(loaded.settings.usage, logs.note, time.monotonic())
        self.metrics = Metrics()
        self._notices = Notices(lambda level, event, fields: logs.note(event, level, **fields), logs.mask)
        self._notices.keep_up = activities.add("notices").run_task
        self._send_notices(loaded)

    def follow(self, loaded: Loaded) -> None:
        """Put new settings in force."""
        self._settings = loaded.settings
        self.logs.set_level(loaded.settings.log.level)
        self.logs.learn(from_settings.redactor(loaded).values)
        self._send_notices(loaded)
        self.usage.follow(loaded.settings.usage)

    def tell(self, change: Change) -> None:
        """Record a change of the pool or of a worker."""
        self.logs.change(change)
        self.records.tell(change)
        self.metrics.tell(change)
        if (reaction := self.reactions.get(change.event)) is not None:
            reaction()

    def beat(self, ref: Ref, beat: Beat, now: float) -> None:
        self.records.flights.beat(ref, beat, now)
        self.usage.beat(ref, beat, now)
        self.metrics.beat(ref, beat)

    def sample(self, ref: Ref, sample: Sample, now: float) -> None:
        self.records.flights.sample(ref, sample, now)

    def output(self, ref: Ref, pid: int, level: str, event: str, fields: Mapping[str, object]) -> None:
        """Record what a worker wrote."""
        self.logs.output(ref, pid, level, event, fields)
        self.records.output(ref, level, event, fields)

    def count_usage(self, pool: Pool) -> None:
        """Count what the calls use of providers; to be called every second."""
        self.usage.tick(time.monotonic(), int(time.time() // DAY), pool.workers)

    def resume(self, pool: Pool) -> None:
        """After an upgrade: go on from what the workers said last."""
        beats = ((ref, history.beat) for ref, history in pool.histories.items())
        self.usage.resume((ref, beat.usage) for ref, beat in beats if beat is not None)
        self.metrics.resume(pool.histories.items())

    async def close(self) -> None:
        await self._notices.close()

    def _send_notices(self, loaded: Loaded) -> None:
        """Send notices by these settings from now on."""
        wanted = loaded.settings.notify
        self._notices.follow(wanted.webhook_url, loaded.environ.get(WEBHOOK_SECRET, ""), wanted.events)
        self.logs.offer = self._notices.offer
