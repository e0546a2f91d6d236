"""Reads and sets the private attributes of LiveKit's AgentServer, its pool of job processes, and its job contexts.

Read from livekit-agents 1.8.9 (worker.py, ipc/proc_pool.py, ipc/supervised_proc.py, ipc/job_proc_executor.py).
What another version lacks is reported as absent here rather than failing in the middle of a call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from enum import StrEnum
from multiprocessing import forkserver, resource_tracker
from typing import Any

from livekit.agents import AgentServer, JobContext, WorkerOptions
from livekit.agents.job import RunningJobInfo
from livekit.agents.utils import http_context
from livekit.agents.worker import _DefaultLoadCalc
from livekit.rtc import _ffi_client

from mindbot_worker.livekit_adapter import job_forkserver

READ_FROM = "1.8.9"


class Attribute(StrEnum):
    """Private attributes of an AgentServer: most are options that its constructor took."""

    AGENT_NAME = "_agent_name"
    API_KEY = "_api_key"
    API_SECRET = "_api_secret"  # noqa: S105
    CONNECTING = "_connecting"
    CONNECTION_FAILED = "_connection_failed"
    ENTRYPOINT = "_entrypoint_fnc"
    HOST = "_host"
    HTTP_SESSION = "_http_session"
    INFERENCE_EXECUTOR = "_inference_executor"
    INITIALIZE_PROCESS_TIMEOUT = "_initialize_process_timeout"
    JOB_EXECUTOR_TYPE = "_job_executor_type"
    LOAD_THRESHOLD = "_load_threshold"
    MAX_RETRY = "_max_retry"
    NUM_IDLE_PROCESSES = "_num_idle_processes"
    PORT = "_port"
    PRELOAD_MODULES = "_preload_modules"
    PROCESS_POOL = "_proc_pool"
    PROMETHEUS_DIRECTORY = "_prometheus_multiproc_dir"
    PROMETHEUS_PORT = "_prometheus_port"
    QUEUE_MESSAGE = "_queue_msg"
    REQUEST = "_request_fnc"
    RESERVED_SLOTS = "_reserved_slots"
    SESSION_END = "_session_end_fnc"
    URL = "_ws_url"
    WORKER_LOAD = "_worker_load"


def get(server: AgentServer, attribute: Attribute, default: Any = None) -> Any:
    """The attribute's value; `default` where this version of LiveKit does not have it."""
    return getattr(server, attribute, default)


def put(server: AgentServer, attribute: Attribute, value: Any) -> None:
    """Set the attribute; one that this version of LiveKit does not have is left alone."""
    if hasattr(server, attribute):
        setattr(server, attribute, value)


def has_own_load(server: AgentServer) -> bool:
    """Whether the user chose a load function; `WorkerOptions` fills in LiveKit's default by itself."""
    return server.load_fnc is not None and server.load_fnc != _DefaultLoadCalc.get_load


def has_own_idle_processes(server: AgentServer) -> bool:
    defaults = (AgentServer._default_num_idle_processes, WorkerOptions.num_idle_processes)
    return not any(get(server, Attribute.NUM_IDLE_PROCESSES) is default for default in defaults)


def reserved_slots(server: AgentServer) -> int:
    """Requests that were answered with "available" and whose job has not been launched yet."""
    return int(get(server, Attribute.RESERVED_SLOTS, 0))


def override_effective_load(server: AgentServer, effective: Callable[[], float]) -> None:
    """Replace LiveKit's load with reserved slots, which is guessed from idle processes, by a function."""
    if hasattr(server, "_get_effective_load"):
        server._get_effective_load = effective  # type: ignore[method-assign]


def send_nothing(server: AgentServer) -> None:
    """Drop what the server wants to tell LiveKit: one that never connects would keep each message, with a task."""

    async def drop(_: Any) -> None: ...

    put(server, Attribute.QUEUE_MESSAGE, drop)


def share_tls() -> None:
    """Make the TLS context that LiveKit keeps for all HTTP sessions of a process, after setting its environment."""
    for name in ("_set_default_cert_env", "_create_ssl_context"):
        if (function := getattr(http_context, name, None)) is not None:
            function()


def share_native_library() -> None:
    """Load LiveKit's native library, so that forked processes share it, which saves each 10 ms of CPU and 5 MiB.

    Loading it starts no thread.
    """
    if (find := getattr(_ffi_client, "get_ffi_lib", None)) is not None:
        find()


def load(server: AgentServer) -> float:
    return float(get(server, Attribute.WORKER_LOAD, 0.0))


def is_connecting(server: AgentServer) -> bool:
    return bool(get(server, Attribute.CONNECTING, False))


def connection_failed(server: AgentServer) -> bool:
    return bool(get(server, Attribute.CONNECTION_FAILED, False))


def is_closing(server: AgentServer) -> bool:
    return server.draining or bool(getattr(_pool(server), "_closed", False))


def _pool(server: AgentServer) -> Any:
    return get(server, Attribute.PROCESS_POOL)


def executors(server: AgentServer) -> list[Any]:
    return list(getattr(_pool(server), "processes", ()))


def running_job(executor: Any) -> RunningJobInfo | None:
    job: RunningJobInfo | None = getattr(executor, "running_job", None)
    return job


def pid(executor: Any) -> int | None:
    number = getattr(executor, "pid", None)
    return number if isinstance(number, int) else None


def died(executor: Any) -> bool:
    """Whether a job process that is gone was killed, or ended with an error of its own."""
    exitcode = getattr(executor, "exitcode", None)
    return bool(getattr(executor, "killed", False)) or exitcode not in (0, None)


def exit_is_unknown(executor: Any) -> bool:
    """Whether the forkserver, which alone learns how a job process ended, was gone before this one ended."""
    return job_forkserver.is_shared() and getattr(executor, "exitcode", None) == job_forkserver.UNKNOWN_EXIT


def on_pool_event(server: AgentServer, event: str, callback: Callable[[Any], None]) -> None:
    """`process_ready`, `process_closed`, `process_job_launched`; the pool exists once `run()` has begun."""
    pool = _pool(server)
    if pool is not None and hasattr(pool, "on"):
        pool.on(event, callback)


def job_ending(context: JobContext) -> asyncio.Future[Any] | None:
    """A future that is done as soon as the job is told to end. (LiveKit's own callbacks wait for the entrypoint.)"""
    told = getattr(context, "_on_shutdown", None)
    for cell in getattr(told, "__closure__", None) or ():
        future = getattr(cell.cell_contents, "_shutdown_fut", None)
        if isinstance(future, asyncio.Future):
            return future
    return None


async def close_pool(server: AgentServer) -> None:
    """Close the pool of job processes of a server that has not come up: its `aclose()` would not."""
    pool = _pool(server)
    if pool is not None and hasattr(pool, "aclose"):
        await pool.aclose()


async def hold_process_start(server: AgentServer, seconds: float) -> None:
    """Keep the pool from starting one of its processes for a while, by taking one of its places for that."""
    places = getattr(_pool(server), "_init_sem", None)
    if isinstance(places, asyncio.Semaphore):
        async with places:
            await asyncio.sleep(seconds)


def open_for_calls(server: AgentServer) -> None:
    """Let the server register with its first warm job process; LiveKit waits until all of them are warm."""
    enough = getattr(_pool(server), "_idle_ready", None)
    if isinstance(enough, asyncio.Event):
        enough.set()


_IDLE = "_default_num_idle_processes"


def idle_processes(server: AgentServer) -> int:
    """How many job processes the pool keeps waiting for a call."""
    wanted = getattr(_pool(server), _IDLE, 0)
    return wanted if isinstance(wanted, int) else 0


def keep_idle(server: AgentServer, wanted: int) -> None:
    """Set how many job processes the pool keeps waiting; with 0 it starts only those that a call waits for."""
    pool = _pool(server)
    if hasattr(pool, _IDLE):
        setattr(pool, _IDLE, wanted)


def start_processes(server: AgentServer, wanted: int) -> None:
    """Start job processes until `wanted` wait for a call or are about to, as the pool's own `_main_task` does."""
    pool = _pool(server)
    start, tasks = getattr(pool, "_proc_spawn_task", None), getattr(pool, "_spawn_tasks", None)
    if start is None or not isinstance(tasks, set) or is_closing(server):
        return
    for _ in range(wanted - warm_processes(server) - len(tasks)):
        _run(start(), tasks)


def end_processes(server: AgentServer, beyond: int) -> None:
    """End all but `beyond` of the job processes that wait for a call."""
    pool = _pool(server)
    queue, tasks = getattr(pool, "_warmed_proc_queue", None), getattr(pool, "_close_tasks", None)
    if not isinstance(queue, asyncio.Queue) or not isinstance(tasks, set):
        return
    while queue.qsize() > beyond:
        _run(queue.get_nowait().aclose(), tasks)


def _run(work: Coroutine[Any, Any, None], tasks: set[Any]) -> None:
    """Run a coroutine as one of the pool's own tasks."""
    task = asyncio.ensure_future(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


def warm_processes(server: AgentServer) -> int:
    """How many job processes wait for a call."""
    queue = getattr(_pool(server), "_warmed_proc_queue", None)
    return queue.qsize() if isinstance(queue, asyncio.Queue) else 0


def active_jobs(server: AgentServer) -> set[str]:
    return {job.job.id for each in executors(server) if (job := running_job(each)) is not None}


def process_ids(server: AgentServer) -> set[int]:
    """Every process known to belong to this worker: after their parent's death ppid would not lead to them."""
    return {number for number in _process_ids(server) if isinstance(number, int) and number > 1}


def _process_ids(server: AgentServer) -> Iterator[Any]:
    yield from (pid(each) for each in executors(server))
    yield pid(get(server, Attribute.INFERENCE_EXECUTOR))
    if not job_forkserver.is_shared():
        yield getattr(forkserver._forkserver, "_forkserver_pid", None)
        yield getattr(resource_tracker._resource_tracker, "_pid", None)
