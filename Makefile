# `make run` and `make test` set everything up themselves; they need python3 (3.11 or newer) and make.
PY := .venv/bin/python


.PHONY: run test check coverage lint types unit functional live live-exec matrix provider-faults bench livekit-server example clean help

help:
	@echo "make run             the pool in local mode: no account needed, Ctrl-C ends it"
	@echo "make test            ruff, mypy --strict and all tests, live ones included"
	@echo "make check           format, lint, types, import rules and unit tests: after every change"
	@echo "make coverage        all tests, and the lines that none of them ran, subprocesses included"
	@echo "make unit|functional|live   one kind of tests"
	@echo "make live-exec       the live tests with workers started by exec instead of the template"
	@echo "make matrix          every fault in every state, and what came of it"
	@echo "make provider-faults every fault of every provider in real calls, and what the caller heard"
	@echo "make bench           against supervisord, circus and plain python, hours long; writes docs/benchmarks.md"
	@echo "make livekit-server  build the livekit-server that the live tests use (needs Go)"
	@echo "make example         write config/mindbot.example.toml and env.example anew"

run:
	@sh .ci/venv.sh run
	@MINDBOT_WORKER__SYNTHETIC_INTERVAL=$${MINDBOT_WORKER__SYNTHETIC_INTERVAL:-10} exec .venv/bin/mindbot-supervisor run --local $(ARGS)

# What fails is run once more, alone: a busy machine is late, a broken program fails twice.
define tested
$(PY) -m pytest -q --durations 10 $(2) $(1) $(ARGS) || { \
	echo "once more, what failed:"; $(PY) -m pytest -q --last-failed --last-failed-no-failures none $(1) $(ARGS); }
endef

test: lint types
	@sh .ci/livekit-server.sh
	@$(call tested,tests/unit tests/functional,-n 3 --dist worksteal)
	@$(call tested,tests/live)

check: .dev
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .
	@$(PY) -m mypy
	@$(PY) -m pytest -q -n 2 --dist worksteal tests/unit $(ARGS)

coverage: .dev
	@sh .ci/livekit-server.sh
	@sh tests/coverage.sh $(PY) $(ARGS)

lint: .dev
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

types: .dev
	@$(PY) -m mypy

unit functional: .dev
	@$(PY) -m pytest -q tests/$@ $(ARGS)

live: .dev
	@sh .ci/livekit-server.sh
	@$(PY) -m pytest -q tests/live $(ARGS)

live-exec: .dev
	@sh .ci/livekit-server.sh
	@LAUNCHER=exec $(PY) -m pytest -q tests/live $(ARGS)

matrix: .dev
	@PYTHONPATH=tests $(PY) -m functional.fault_matrix

provider-faults: .dev
	@sh .ci/livekit-server.sh
	@PYTHONPATH=tests $(PY) -m live.provider_faults $(ARGS)

bench: .dev
	@sh .ci/livekit-server.sh
	@$(PY) bench/all.py $(ARGS)

livekit-server:
	@sh tests/livekit_server/build.sh

example: .dev
	@$(PY) -m mindbot_config.example

.PHONY: .dev
.dev:
	@sh .ci/venv.sh dev

clean:
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis
