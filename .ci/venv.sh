#!/bin/sh
# Makes .venv with everything of this project at the versions of constraints.txt: with uv where there is one, else pip.
# $1: "run" installs what the service needs, "dev" adds what the tests need. Says plainly what is missing.
set -eu
kind=${1:-run}
root=$(cd "$(dirname "$0")/.." && pwd)
venv=$root/.venv
stamp=$venv/.installed-$kind
dev=$venv/.installed-dev

fresh() { [ -e "$1" ] && [ ! "$root/pyproject.toml" -nt "$1" ] && [ ! "$root/constraints.txt" -nt "$1" ]; }
if fresh "$stamp" || fresh "$dev"; then exit 0; fi

extra=
[ "$kind" = dev ] && extra='[dev]'

if command -v uv >/dev/null 2>&1; then
    [ -x "$venv/bin/python" ] || uv venv --quiet --python '>=3.11' "$venv"
    VIRTUAL_ENV=$venv uv pip install --quiet --compile-bytecode -c "$root/constraints.txt" -e "$root$extra"
    touch "$stamp"
    exit 0
fi

python=
for each in "${PYTHON:-python3}" python3 python3.13 python3.12 python3.11; do
    if "$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$each; break; fi
done
if [ -z "$python" ]; then
    echo "missing: Python 3.11 or newer (tried python3, python3.11 to python3.13; or set PYTHON=/path/to/python)" >&2
    exit 1
fi
if ! [ -x "$venv/bin/pip" ]; then
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
            apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
        else
            echo "missing: Python's venv module (Debian: apt-get install python3-venv)" >&2
            exit 1
        fi
    fi
    "$python" -m venv "$venv"
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c "$root/constraints.txt" -e "$root$extra"
touch "$stamp"
