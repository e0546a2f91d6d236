"""The flags of the programs that the supervisor starts."""

import pytest

from mindbot_worker import arguments

KNOWN = {"agent": "", "port": 0}


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], {"agent": "", "port": 0}),
        (["--agent", "module:server"], {"agent": "module:server", "port": 0}),
        (["--port=7", "--agent=a=b"], {"agent": "a=b", "port": 7}),
        (["--agent", "--port"], {"agent": "--port", "port": 0}),
    ],
)
def test_flags_have_their_values_and_the_others_what_is_usual(argv, expected):
    assert arguments.read("program", KNOWN, argv) == expected


@pytest.mark.parametrize("argv", [["--agnt", "x"], ["module:server"], ["--agent"], ["--port", "x"], ["--port", "²"]])
def test_anything_else_ends_the_program_with_one_line_that_names_its_flags(argv, capsys):
    with pytest.raises(SystemExit) as ended:
        arguments.read("program", KNOWN, argv)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "[--agent VALUE] [--port VALUE]" in line
