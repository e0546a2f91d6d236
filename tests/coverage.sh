#!/bin/sh
# All tests with the lines that none of them ran, subprocesses included: a .pth file starts coverage in every Python.
set -eu
python=$1; shift
root=$(cd "$(dirname "$0")/.." && pwd)
data=$(mktemp -d)
site=$("$python" -c 'import site; print(site.getsitepackages()[0])')
trap 'rm -rf "$data" "$site/mindbot_coverage.pth"' EXIT
printf '[run]\nbranch = False\nparallel = True\nsource = mindbot_config,mindbot_supervisor,mindbot_worker\ndata_file = %s/data\nsigterm = True\n[report]\nskip_covered = True\nshow_missing = True\n' "$data" > "$data/coveragerc"
echo 'import os; os.environ.get("COVERAGE_PROCESS_START") and __import__("coverage").process_startup()' > "$site/mindbot_coverage.pth"
export COVERAGE_PROCESS_START="$data/coveragerc"
cd "$root"
"$python" -m pytest -q -n 2 --dist worksteal tests/unit tests/functional "$@" || echo "some tests failed; the coverage of those that ran follows"
"$python" -m coverage combine --quiet --rcfile "$data/coveragerc" "$data" || true
"$python" -m coverage report --rcfile "$data/coveragerc"
