"""A job that cannot get into its room, with LiveKit's own job process around it."""

from __future__ import annotations

import signal
from typing import Any

from mindbot_worker.protocol import heartbeat


def test_a_job_that_is_told_to_end_gives_up_getting_into_its_room(start_worker: Any) -> None:
    worker = start_worker(
        """
        from mindbot_worker import CallEnded, connect_with_retry

        async def refuse():
            raise ConnectionRefusedError("nobody there")

        async def call(ctx):
            ctx.connect = refuse
            try:
                await connect_with_retry(ctx, retries=20)
            except CallEnded as exc:
                print("gave up:", exc, flush=True)
                raise

        simulate("r")
        """,
        MINDBOT_POOL__DRAIN_TIMEOUT="0.5",
    )
    worker.wait(lambda: len(worker.records("job.connect_retried")) >= 2)
    worker.signal(signal.SIGTERM)
    worker.wait(lambda: any("gave up: the job was told to end" in line for line in worker.out))
    ended = worker.beat(lambda b: b.ended)
    assert ended.ended[0].outcome == heartbeat.COMPLETED and ended.errors_total == 0
