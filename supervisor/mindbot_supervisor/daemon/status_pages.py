"""What the daemon answers to questions: its status, its metrics, and the explanation of one worker."""

from __future__ import annotations

import asyncio
import importlib
import os
import platform
import sys
import time
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version

from mindbot_supervisor.control.request_fields import OfWorker
from mindbot_supervisor.daemon.engine.engine import Engine
from mindbot_supervisor.daemon.reporting import Reporting
from mindbot_supervisor.monitoring.activities import Activities
from mindbot_supervisor.observability.status import Json, View, of_launcher

METRICS = "mindbot_supervisor.observability.metrics"


@cache
def own_version() -> str:
    """The version in the package's metadata: to read it takes longer than the rest of a status."""
    return version("mindbot-supervisor")


@dataclass(frozen=True, slots=True)
class StatusPages:
    """Answers from what the engine and the records know now."""

    engine: Engine
    reporting: Reporting
    activities: Activities
    mode: str
    started: float

    def status(self) -> Json:
        engine = self.engine
        view = View(own_version(), os.getpid(), self.mode, self.started)
        status = view.status(engine.pool, time.monotonic(), time.time())
        launcher = of_launcher(engine.launcher.describe(), engine.processes.helpers)
        unhealthy = [health.fields() for health in self.activities.unhealthy()]
        supervisor = {**status["supervisor"], **launcher, "unhealthy": unhealthy}
        return {**status, "supervisor": supervisor, "usage": self.reporting.usage.totals()}

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """The page for Prometheus and its content type, for an Accept header."""
        if METRICS not in sys.modules:
            await asyncio.to_thread(importlib.import_module, METRICS)  # the loop need not wait for it
        from mindbot_supervisor.observability.metrics import render

        return render(self.status(), self.reporting.metrics, platform.node(), accept)

    async def explain(self, fields: OfWorker) -> Json:
        return self.reporting.records.explain(self.engine.pool, self.status(), fields.worker)
