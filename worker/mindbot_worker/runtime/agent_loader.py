"""Imports the agent and finds the AgentServer that `--agent MODULE:ATTR` names, or says in one line what is wrong."""

from __future__ import annotations

import importlib
import logging
import os
from multiprocessing.reduction import ForkingPickler
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mindbot_config.host import resource_shortage
from mindbot_config.settings import Settings
from mindbot_worker import agent_path
from mindbot_worker.agent_path import AgentPlace
from mindbot_worker.logging.json_lines import summarise
from mindbot_worker.runtime import environment
from mindbot_worker.runtime.shutdown import ConfigFailure, ResourceShortage, WorkerFailure

if TYPE_CHECKING:
    from livekit.agents import AgentServer

logger = logging.getLogger(__name__)


def check_reference(reference: str) -> AgentPlace:
    """Refuse a reference that cannot be right, before the seconds that importing LiveKit takes."""
    module, colon, attribute = reference.partition(":")
    if not (module and colon and attribute and all(part.isidentifier() for part in f"{module}.{attribute}".split("."))):
        raise ConfigFailure(f"cannot use the agent {reference!r}: it is not of the form MODULE:ATTR")
    top = module.partition(".")[0]
    place = agent_path.find(top)
    if place is None:
        raise ConfigFailure(f"cannot find the agent module {top!r}, neither in {os.getcwd()} nor installed")  # noqa: PTH109
    return place


def prepared(reference: str, settings: Settings) -> AgentServer:
    """Check and prepare the environment, import the agent, and return its server. Raises WorkerFailure."""
    place = check_reference(reference)
    environment.check(os.environ, settings, reference)
    environment.prepare(os.environ, settings, reference)
    agent_path.import_first(place)
    if agent_path.is_taken(place):
        raise ConfigFailure(
            f"cannot use the agent module {place.module!r}: a library has that name; give {place.file} another one"
        )
    agent_path.enter(place.folder)
    return load(reference)


def load(reference: str) -> AgentServer:
    """Import the agent as the main program would, and make sure that it can serve."""
    name, _, attribute = reference.partition(":")
    module = _import(name)
    server = _server(_find(module, attribute), reference)
    _check_session(server, reference)
    return server


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (name == exc.name or name.startswith(f"{exc.name}.")):
            raise ConfigFailure(f"cannot find the agent module {name!r}: there is no {exc.name!r}") from exc
        raise _failed_at_import(name, exc) from exc
    except SystemExit as exc:
        raise ConfigFailure(
            f"cannot import the agent module {name!r}: it ends the process instead ({summarise(exc)}); "
            'what runs an agent belongs under `if __name__ == "__main__":`'
        ) from exc
    except Exception as exc:
        raise _failed_at_import(name, exc) from exc


def _failed_at_import(name: str, exc: Exception) -> WorkerFailure:
    if (short := resource_shortage.behind(exc)) is not None:
        return ResourceShortage(f"cannot import the agent module {name!r}: {resource_shortage.explain(short)}")
    return ConfigFailure(f"cannot import the agent module {name!r}: {summarise(exc)}")


def _find(module: ModuleType, attribute: str) -> Any:
    found: Any = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ConfigFailure(
                f"cannot find {attribute!r} in the agent module {module.__name__!r}{_servers_of(module)}"
            ) from None
    return found


def _servers_of(module: ModuleType) -> str:
    from livekit.agents import AgentServer

    servers = [name for name, value in vars(module).items() if isinstance(value, AgentServer)]
    return f"; it has the AgentServer {', '.join(map(repr, servers))}" if servers else ""


def _server(found: Any, reference: str) -> AgentServer:
    from livekit.agents import AgentServer, WorkerOptions

    if isinstance(found, WorkerOptions):
        return AgentServer.from_server_options(found)
    if not isinstance(found, AgentServer):
        raise ConfigFailure(
            f"cannot run {reference!r}: it is a {type(found).__name__}, not a livekit.agents.AgentServer"
        )
    return found


def _check_session(server: AgentServer, reference: str) -> None:
    from livekit.agents import JobExecutorType

    from mindbot_worker.livekit_adapter import internals
    from mindbot_worker.livekit_adapter.internals import Attribute

    entrypoint = internals.get(server, Attribute.ENTRYPOINT)
    if entrypoint is None:
        raise ConfigFailure(f"cannot run {reference!r}: no session is registered with @server.rtc_session()")
    if internals.get(server, Attribute.JOB_EXECUTOR_TYPE) is not JobExecutorType.PROCESS:
        return
    for function in (entrypoint, server.setup_fnc, internals.get(server, Attribute.SESSION_END)):
        try:
            ForkingPickler.dumps(function)
        except Exception as exc:
            said = getattr(function, "__qualname__", repr(function))
            raise ConfigFailure(
                f"cannot run {reference!r}: {said} cannot be sent to a job process ({summarise(exc)}); "
                "define it at the top level of its module"
            ) from exc


def check_credentials(server: AgentServer, settings: Settings) -> None:
    """Raise ConfigFailure where LiveKit's URL, key or secret is missing, and name the variables to set."""
    from mindbot_worker.livekit_adapter import internals
    from mindbot_worker.livekit_adapter.internals import Attribute

    if not settings.worker.registered:
        return
    needed = {
        Attribute.URL: "LIVEKIT_URL",
        Attribute.API_KEY: "LIVEKIT_API_KEY",
        Attribute.API_SECRET: "LIVEKIT_API_SECRET",
    }
    missing = [variable for attribute, variable in needed.items() if not internals.get(server, attribute)]
    if missing:
        raise ConfigFailure(f"cannot register at livekit: {' and '.join(missing)} not set")
