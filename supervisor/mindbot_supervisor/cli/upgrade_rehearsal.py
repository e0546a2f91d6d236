"""What the new version of the daemon does with the state that it is handed, done once without any effect.

It runs in the process that proves a new version before an upgrade: the exec cannot be undone, so whatever can fail on
the way back to a running pool has to fail here.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from mindbot_config.credentials import Credentials
from mindbot_config.files.paths import resolve
from mindbot_config.load import Loaded
from mindbot_config.output import strict_json
from mindbot_supervisor.core.pool import Pool
from mindbot_supervisor.core.workers import snapshot
from mindbot_supervisor.daemon.configuration import auto_limits, from_settings, run_mode
from mindbot_supervisor.observability.flight_recorder import Recorder
from mindbot_supervisor.observability.metrics import Metrics
from mindbot_supervisor.observability.provider_usage import UsageBook
from mindbot_supervisor.observability.status import View
from mindbot_supervisor.upgrade import state_file

PACKAGES = ("mindbot_supervisor", "mindbot_config", "mindbot_worker")
NOT_THE_DAEMONS = ("__main__", "client", "cli", "probe", "tui")
"""Parts of a module's name that only a command uses: what is optional there may be missing."""


def load_everything() -> None:
    """Import what the daemon imports, now or later, and see that all files of the installation are whole."""
    package = importlib.import_module("mindbot_supervisor")
    for module in pkgutil.walk_packages(package.__path__, "mindbot_supervisor."):
        if not set(module.name.split(".")) & set(NOT_THE_DAEMONS):
            importlib.import_module(module.name)
    loaded = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    for source in _sources():
        if str(source) in loaded:
            continue
        compile(source.read_bytes(), str(source), "exec", dont_inherit=True)


def _sources() -> Iterator[Path]:
    for name in PACKAGES:
        spec = find_spec(name)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            yield from sorted(Path(folder).rglob("*.py"))


def rehearse(state: state_file.State, loaded: Loaded) -> None:
    """Raises whatever would go wrong. The state stays as it is; no descriptor in it is touched."""
    settings, now = loaded.settings, time.monotonic()
    credentials = Credentials.from_environ(loaded.environ)
    run_mode.choose(settings, credentials, local=False, server=None)
    runtime_dir = resolve(settings, loaded.environ, os.geteuid()).runtime_dir
    from_settings.launch(loaded, runtime_dir, {}).digest()
    pool = Pool(auto_limits.policy(loaded.settings), now)
    snapshot.put(pool, state.pool, now)
    for each in state.children:
        each.held_bytes()
    clean = from_settings.redactor(loaded).clean
    flights = Recorder(lambda _: None, clean, time.monotonic, time.time, transcripts=lambda: False, stamp={})
    flights.restore(state.flights)
    beats = ((ref, history.beat) for ref, history in pool.histories.items())
    UsageBook(settings.usage, lambda *_, **__: None, now).resume((ref, beat.usage) for ref, beat in beats if beat)
    Metrics().resume(pool.histories.items())
    pool.tick(now)
    strict_json.dumps(View("", 0, "", state.started).status(pool, now, time.time()))
