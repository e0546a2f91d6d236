"""The worker processes that run: their pipes and output, their record files, and those of a daemon that crashed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from mindbot_supervisor.control.leftover_output import LeftoverOutput
from mindbot_supervisor.core.pool import Pool
from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.errors import SupervisorError
from mindbot_supervisor.monitoring.activities import Activity
from mindbot_supervisor.monitoring.process_table import Key
from mindbot_supervisor.processes.launching.child_process import Child
from mindbot_supervisor.processes.leftover_workers import LeftoverWorkers, WorkerRecord, WorkerRecords
from mindbot_supervisor.processes.pipes import worker_inbox_sockets
from mindbot_supervisor.processes.pipes.worker_output import Output
from mindbot_supervisor.processes.pipes.worker_pipes import BatchedReader, BeatsDropped, RunningWorker, TakeBeat

WriteOutput = Callable[[Ref, int, str, str, Mapping[str, object]], None]
"""Takes worker, pid, level, event and fields of what a worker wrote."""


class RunningWorkers:
    """Owns the pipes and files of the workers that run. `leftover_ended` is called at the end of each leftover."""

    def __init__(
        self,
        pool: Pool,
        runtime_dir: Path,
        recording: Activity,
        *,
        write_output: WriteOutput,
        leftover_ended: Callable[[Ref], None],
    ) -> None:
        self.running: dict[Ref, RunningWorker] = {}
        self.leftovers = LeftoverWorkers(leftover_ended)
        self.members_outside_session: Callable[[Ref], Sequence[Key]] = lambda _: ()
        """Gives what belongs to a worker and could not be found by its session: it is recorded too."""
        self._pool, self._runtime_dir, self._recording = pool, runtime_dir, recording
        self._write_output = write_output
        self._loop = asyncio.get_running_loop()
        self._heartbeats = BatchedReader()
        self._records = WorkerRecords(runtime_dir)
        self._unrecorded: set[Ref] = set()
        self._leftover_output = LeftoverOutput(runtime_dir, self._output_of_leftover)

    # -- workers -------------------------------------------------------------------------------------------------------

    def open(self, ref: Ref, child: Child, take_beat: TakeBeat, beats_dropped: BeatsDropped) -> RunningWorker:
        """Take over the pipes of a child that runs. They are read once `watch` of the worker is called."""
        output = self._output(ref, child.pid)
        worker = self.running[ref] = RunningWorker(child, output, self._heartbeats, take_beat, beats_dropped)
        return worker

    def remove(self, ref: Ref) -> None:
        """Close the pipes of a worker that has ended, after what is still in them was read."""
        self.running.pop(ref).close()

    def pids(self) -> set[int]:
        return {worker.child.pid for worker in self.running.values()}

    def signal(self, ref: Ref, number: int) -> bool:
        """Send a signal to the worker's own process; False for one that is not a child of ours."""
        worker = self.running.get(ref)
        if worker is None:
            self.leftovers.signal(ref, number)
            return False
        worker.child.signal(number)
        return True

    def prepare_jobs(self, ref: Ref, processes: int) -> None:
        """Tell a worker to keep so many job processes warm."""
        if ref in self.running:
            worker_inbox_sockets.prepare(self._runtime_dir, str(ref), self.running[ref].child.pid, processes)

    # -- records for the next daemon -----------------------------------------------------------------------------------

    def record(self, ref: Ref, *, termed: bool = False) -> None:
        """Write what the next daemon needs if this one dies. What cannot be written is tried again in each round."""
        running, worker = self.running.get(ref), self._pool.workers.get(ref)
        if running is not None:
            pid, termed = running.child.pid, termed or (worker is not None and worker.termed)
            members = self.members_outside_session(ref)
            self._unrecorded.add(ref)
            self._recording.attempt(partial(self._write_record, ref, pid, termed, members))

    def record_missing(self) -> None:
        """Try again to write the records that could not be written."""
        for ref in list(self._unrecorded):
            self.record(ref)

    def recorded_members(self, ref: Ref) -> Sequence[Key]:
        """What an earlier daemon has recorded as belonging to this worker."""
        return self._records.members(ref)

    def forget(self, ref: Ref) -> None:
        """Remove the files of a worker of which no process is left."""
        self._records.remove(ref)
        worker_inbox_sockets.remove(self._runtime_dir, str(ref))

    def restore_files(self, now: float) -> list[str]:
        """Make again what is missing of our files in the runtime directory; the names. Raises SupervisorError."""
        return [*self._records.restore(now), *self._leftover_output.restore()]

    def _write_record(self, ref: Ref, pid: int, termed: bool, members: Sequence[Key]) -> None:
        self._records.write(ref, pid, termed=termed, members=members)
        self._unrecorded.discard(ref)

    # -- leftovers of a daemon that crashed ----------------------------------------------------------------------------

    def find_leftovers(self) -> list[WorkerRecord]:
        """Workers of a crashed daemon that live and are watched from now on. Names that were used are remembered."""
        living, names = self._records.leftovers()
        for ref in names:
            self._pool.remember(ref)
        found = [record for record in living if record.ref not in self.running and self.leftovers.take(record)]
        worker_inbox_sockets.remove(self._runtime_dir)
        with contextlib.suppress(SupervisorError):  # only lines of leftovers are lost, and `restore_files` tells it
            self._leftover_output.restore()
        return found

    def _output_of_leftover(self, name: str) -> Output | None:
        """A reader for the lines of a leftover worker."""
        ref = self.leftovers.named(name)
        worker = self._pool.workers.get(ref) if ref is not None else None
        return self._output(worker.ref, worker.pid or 0) if worker is not None else None

    def _output(self, ref: Ref, pid: int) -> Output:
        return Output(partial(self._write_output, ref, pid), self._loop.call_later)

    # -- end -----------------------------------------------------------------------------------------------------------

    def stop_listening(self) -> None:
        """Take no more output of leftovers."""
        self._leftover_output.close()

    def close(self) -> None:
        """After the end of all workers."""
        self._heartbeats.close()
