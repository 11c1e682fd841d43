# Two commands are enough: `make demo` and `make test`. Both make their own environment with nothing but python3.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/ready
CHAOS  ?= 1000
SOAK   ?= 7

.PHONY: demo test check bench chaos soak lock clean

demo: $(READY)
	$(BIN)/python main.py --demo $(ARGS)

test: check
	$(BIN)/python -m pytest -n 2 --dist loadgroup

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit -q -lll -r . -x ./.venv,./tests
	@$(BIN)/pip-audit --disable-pip --require-hashes -r requirements.lock > $(VENV)/audit 2>&1; \
	if grep -qE "^Found [0-9]+ known vulnerabilit" $(VENV)/audit; then cat $(VENV)/audit; exit 1; fi; \
	grep -E "^No known" $(VENV)/audit || echo "pip-audit could not ask for known vulnerabilities: see $(VENV)/audit"

chaos: $(READY)
	CHAOS=$(CHAOS) DAYS=$(CHAOS) $(BIN)/python -m pytest -n 2 --dist loadgroup -rP tests/chaos tests/test_days.py tests/test_worker_process.py

soak: $(READY)
	SOAK=$(SOAK) $(BIN)/python -m pytest -rP tests/chaos/test_soak.py

bench: $(READY)
	$(BIN)/python -m benchmarks

$(READY): requirements.txt requirements.lock requirements-dev.txt requirements-replay.txt requirements-brokers.txt requirements-ibkr.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $(READY)

lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -o requirements.lock requirements.txt

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache demo-data
