"""Who may import what: the layers of the design, read off the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUPERVISOR = ROOT / "supervisor" / "mindbot_supervisor"
LIVEKIT = SUPERVISOR / "runtime" / "livekit_api.py"
IMPURE = {
    "asyncio",
    "datetime",
    "logging",
    "os",
    "random",
    "select",
    "socket",
    "subprocess",
    "sys",
    "threading",
    "time",
}


WIRES = {"wire", "wire_inbox", "wire_log", "wire_template", "descriptors", "shortage"}
"""The protocols between supervisor and worker, and what they are made of: all that both sides share."""


def imported(path: Path) -> set[str]:
    """Every module that a file imports, relative ones resolved."""
    package = list(
        path.relative_to(
            next(r for r in (ROOT / "supervisor", ROOT / "worker", ROOT / "config") if r in path.parents)
        ).parts[:-1]
    )
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            names.add(".".join([*base, *([node.module] if node.module else [])]))
            if not node.module:
                names |= {".".join([*base, alias.name]) for alias in node.names}
    return names


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def starts(names: set[str], *prefixes: str) -> set[str]:
    return {name for name in names if any(name == p or name.startswith(p + ".") for p in prefixes)}


def ident(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", files(SUPERVISOR), ids=ident)
def test_the_supervisor_imports_of_the_worker_only_the_wire_and_of_livekit_its_api_in_one_file(path):
    names = imported(path)
    assert starts(names, "livekit") <= ({"livekit.api"} if path == LIVEKIT else set())
    if "mindbot_worker" in names:
        tree = ast.parse(path.read_text())
        froms = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module == "mindbot_worker"]
        assert all(alias.name in WIRES for node in froms for alias in node.names)
    assert starts(names, "mindbot_worker") <= {"mindbot_worker", *(f"mindbot_worker.{wire}" for wire in WIRES)}


@pytest.mark.parametrize("path", files(SUPERVISOR / "core"), ids=ident)
def test_the_core_is_pure(path):
    names = imported(path)
    assert not starts(names, *IMPURE)
    allowed = ("mindbot_supervisor.core", "mindbot_config.sections", "mindbot_worker.protocol.heartbeat")
    assert starts(names, "mindbot_supervisor", "mindbot_config", "mindbot_worker") == starts(names, *allowed)


@pytest.mark.parametrize("path", files(SUPERVISOR / "runtime"), ids=ident)
def test_the_runtime_knows_the_core_and_not_the_operators_side(path):
    assert not starts(
        imported(path), "mindbot_supervisor.observability", "mindbot_supervisor.daemon.daemon", "mindbot_supervisor.cli"
    )


@pytest.mark.parametrize("path", files(SUPERVISOR / "monitoring"), ids=ident)
def test_monitoring_measures_and_knows_neither_who_ends_processes_nor_the_operators_side(path):
    names = imported(path)
    assert not starts(
        names, "mindbot_supervisor.observability", "mindbot_supervisor.daemon.daemon", "mindbot_supervisor.cli"
    )
    runtime = starts(names, "mindbot_supervisor.processes")
    allowed = ("process_table", "process_tree")
    assert runtime <= {f"mindbot_supervisor.processes.{name}" for name in allowed}


@pytest.mark.parametrize("path", files(SUPERVISOR / "ops"), ids=ident)
def test_the_operators_side_is_handed_callables_and_never_imports_the_runtime(path):
    assert not starts(
        imported(path), "mindbot_supervisor.processes", "mindbot_supervisor.daemon.daemon", "mindbot_supervisor.cli"
    )


@pytest.mark.parametrize("path", files(ROOT / "config"), ids=ident)
def test_the_settings_depend_on_pydantic_only(path):
    """`output` is not about settings: it has what all processes do with text, structlog's processors included."""
    structlog = () if path.parent.name == "output" else ("structlog",)
    assert not starts(imported(path), "mindbot_supervisor", "mindbot_worker", "livekit", "aiohttp", *structlog)


def test_only_one_file_writes_json_that_leaves_a_process():
    """`load` gives it to pydantic, `example` writes TOML; `local` is no part of a service."""
    exempt = {"strict_json.py", "spellings.py", "load.py", "example.py", "livekit_api.py"}
    product = [*files(SUPERVISOR), *files(ROOT / "config"), *files(ROOT / "worker")]
    writers = [path for path in product if "json.dump" in path.read_text().replace("strict_json.dump", "")]
    assert [ident(path) for path in writers if path.name not in exempt and path.parent.name != "local"] == []


@pytest.mark.parametrize("path", files(ROOT / "worker"), ids=ident)
def test_the_worker_knows_nothing_of_the_supervisor(path):
    assert not starts(imported(path), "mindbot_supervisor")
