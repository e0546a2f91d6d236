"""Saves the state of the running daemon for an upgrade in place, and restores it in the new version."""

from __future__ import annotations

import base64
import time

from mindbot_config.host.descriptors import Descriptor
from mindbot_supervisor.core.workers.model import Ref
from mindbot_supervisor.core.workers.snapshot import put, take
from mindbot_supervisor.daemon.engine.engine import Engine
from mindbot_supervisor.daemon.startup import Prepared
from mindbot_supervisor.observability.flight_journal import FlightRecords
from mindbot_supervisor.processes.launching.child_process import Child
from mindbot_supervisor.recovery.recovery_tasks import Known
from mindbot_supervisor.upgrade import state_file


def save(engine: Engine, prepared: Prepared, records: FlightRecords) -> state_file.State:
    """Everything that the next version must know."""
    sockets = prepared.sockets
    return state_file.State(
        pool=take(engine.pool),
        children=children_of(engine),
        lock=sockets.directory.lock,
        control=sockets.control.socket.fileno(),
        http=sockets.http_fd,
        names=sockets.directory.instance.fds,
        control_place=sockets.control.place,
        started=prepared.started,
        template=template_of(engine),
        jobservers=jobservers_of(engine),
        rescue=rescue_of(engine),
        flights=records.saved(),
        descriptors=prepared.descriptors.inherited,
    )


def children_of(engine: Engine) -> list[state_file.ChildState]:
    """What the next version must know of every child that runs."""
    return [
        state_file.ChildState(
            slot=ref.slot,
            generation=ref.generation,
            pid=child.pid,
            pidfd=child.pidfd.fileno(),
            beats=child.beats.fileno(),
            leash=child.leash.fileno(),
            output=child.output.fileno(),
            held=base64.b64encode(held).decode(),
        )
        for ref, (child, held) in engine.children().items()
    ]


def template_of(engine: Engine) -> state_file.TemplateState | None:
    """The template that forks workers now, if there is one; one that is still being built is left behind."""
    template = engine.launcher.template_process
    if template is None or template.socket is None:
        return None
    digest = engine.launch.digest()
    pidfd, sock, output = template.pidfd.fileno(), template.socket.fileno(), template.output.fileno()
    return state_file.TemplateState(template.pid, pidfd, sock, output, digest)


def jobservers_of(engine: Engine) -> list[state_file.JobserverState]:
    return [
        state_file.JobserverState(pid, template, [(ref.slot, ref.generation) for ref in users])
        for pid, template, users in engine.launcher.jobservers.known()
    ]


def rescue_of(engine: Engine) -> Known:
    """What recoveries have learned from LiveKit."""
    rescuer = engine.recoveries.rescuer
    return rescuer.known() if rescuer is not None else Known()


def resume_template(engine: Engine, state: state_file.State) -> None:
    """Fork from the template of the version before, unless the code has changed since."""
    launcher, found = engine.launcher, state.template
    for each in state.jobservers:
        launcher.jobservers.watch(each.pid, each.template, [Ref(*user) for user in each.users])
    if found is not None:
        launcher.resume(found.pid, found.pidfd, found.socket, found.output, fits=found.digest == engine.launch.digest())


def restore(engine: Engine, state: state_file.State) -> None:
    """Go on with the workers, the template and the pool of the version before."""
    if engine.recoveries.rescuer is not None:
        engine.recoveries.rescuer.remember(state.rescue)
    put(engine.pool, state.pool, time.monotonic())
    for each in state.children:
        pidfd, beats, leash, output = map(Descriptor, each.fds())
        child = Child(each.pid, pidfd, beats, leash, output)
        engine.facts.resume(Ref(each.slot, each.generation), child, each.held_bytes())
    resume_template(engine, state)
