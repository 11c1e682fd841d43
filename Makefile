# `make` alone says what there is. Every target makes its own environment (.venv) with nothing but python3.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/ready
CHAOS  ?= 1000
SOAK   ?= 7
DEMO   := $(if $(SEED),--seed $(SEED)) $(if $(SPEED),--speed $(SPEED)) $(if $(PORT),--port $(PORT)) $(if $(STAY),--stay)

.PHONY: help install demo test check bench chaos soak lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(READY)  ## .venv with all that worker, replay, demo and tests need
	@echo "Ready: $(BIN)/python main.py --demo, $(BIN)/python diagnose.py, $(BIN)/python main.py"

demo: $(READY)  ## the worker on a simulated market (SEED=2 another one, SPEED=8, STAY=1 PORT=8080 keep its page)
	$(BIN)/python main.py --demo $(DEMO) $(ARGS)

test: check  ## everything that is promised, checked
	$(BIN)/python -m pytest -n 2 --dist loadgroup

check: $(READY)  ## style, types, dangerous calls, known holes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit -q -lll -r . -x ./.venv,./tests
	@$(BIN)/pip-audit --disable-pip --require-hashes -r requirements.lock > $(VENV)/audit 2>&1; \
	if grep -qE "^Found [0-9]+ known vulnerabilit" $(VENV)/audit; then cat $(VENV)/audit; exit 1; fi; \
	grep -E "^No known" $(VENV)/audit || echo "pip-audit could not ask for known vulnerabilities: see $(VENV)/audit"

chaos: $(READY)  ## a thousand kills and a thousand days of faults (an hour; CHAOS=50 fewer)
	CHAOS=$(CHAOS) DAYS=$(CHAOS) $(BIN)/python -m pytest -n 2 --dist loadgroup -rP tests/chaos tests/desk/test_days.py tests/test_worker_process.py

soak: $(READY)  ## seven sessions in one life (a quarter of an hour)
	SOAK=$(SOAK) $(BIN)/python -m pytest -rP tests/chaos/test_soak.py

bench: $(READY)  ## every figure beside what it must reach
	$(BIN)/python -m benchmarks

$(READY): requirements.txt requirements.lock requirements-dev.txt requirements-replay.txt requirements-brokers.txt requirements-ibkr.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make $(MAKECMDGOALS) PYTHON=python3.13"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $(READY)

lock:  ## requirements.lock anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -o requirements.lock requirements.txt

clean:  ## the environment and the demo's data away
	rm -rf $(VENV) .mypy_cache .ruff_cache demo-data
