"""What holds for all commands."""

import pytest

from mindbot_supervisor.cli import app
from mindbot_supervisor.cli.commands import operate
from mindbot_supervisor.cli.terminal import tables
from mindbot_supervisor.control import operator_commands as daemons


@pytest.mark.parametrize("name", app.MODULES)
def test_every_command_is_found_where_the_list_says_and_explains_itself(name):
    command = app.find(name)
    assert command.name == name
    assert command.help and command.help.isascii()


def test_the_command_line_and_the_daemon_have_the_same_idea_of_the_largest_pool():
    assert operate.WORKERS_MAX == daemons.WORKERS_MAX


def test_plain_tables_are_aligned_and_a_long_cell_pushes_only_its_own_row():
    rows = [("KEY", "VALUE", "SOURCE"), ("a", "x" * 40, "file"), ("b.c", "1", "flag\x1b")]
    short, long, other = tables.plain(rows)
    assert long == f"a    {'x' * 40}  file"
    assert (short.index("SOURCE"), other.index(r"flag\x1b")) == (39, 39)
    assert tables.plain([("A", "B")]) == ["A  B"]
    assert tables.plain([]) == []
