# Two commands matter: `make run` and `make test`. A machine needs git, make and python3 (3.11 or newer).

PYTHON ?= python3
PY := .venv/bin/python
PIP := $(PY) -m pip install --disable-pip-version-check --quiet
RUN_STAMP := .venv/.installed
TEST_STAMP := .venv/.installed-dev
# Of the fault runs: the same plan and deliveries again.
SEED ?= 1
ROUNDS ?= 50
# Test processes; two suit the smallest machine.
JOBS ?= 2
# The type checker reads the settings; no key of this machine is needed for that.
TYPECHECK_ENV := SERVICE_ENV=test SECRET_KEY=none FIELD_ENCRYPTION_KEYS=t1:none PSEUDONYM_KEY=t1:none
BENCH_ENV := SERVICE_ENV=test SECRET_KEY=none FIELD_ENCRYPTION_KEYS=t1:none PSEUDONYM_KEY=t1:known-to-every-reader

# Where it is set, each test process compiles all tests anew: 8 s of a core each time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install run demo test test-sqlite test-postgres image-steps browser lint typecheck coverage proof bench bench-normalise bench-monitoring bench-two-phase bench-figures bench-ingest bench-drain faults clean
.NOTPARALLEL:

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(RUN_STAMP) ## Make .venv and install what the service needs

run: $(RUN_STAMP) ## Start the service on http://127.0.0.1:8080 (PORT, SERVICE_HOST); Ctrl-C stops it
	@$(PY) -m voicelens.supervisor

demo: $(RUN_STAMP) ## Send signed sample calls of every provider to the running service and show what became of them
	@$(PY) manage.py demo

test: browser lint typecheck test-sqlite test-postgres ## Check everything: lint, types, the suite on SQLite, what may differ on PostgreSQL too

test-sqlite: $(TEST_STAMP) ## Run the suite on SQLite
	$(PY) -m pytest --db sqlite -n $(JOBS) --dist worksteal

test-postgres: $(TEST_STAMP) ## Run what may differ there on PostgreSQL (DATABASE_URL, else a private server)
	$(PY) -m pytest --db postgres --database-only -n $(JOBS) --dist worksteal

browser: $(TEST_STAMP) ## Find a Chromium for the browser tests, or install one
	@$(PY) -m tests.chromium

image-steps: $(TEST_STAMP) ## Run all steps of the Dockerfile, installation included, in a plain directory
	IMAGE_STEPS=whole $(PY) -m pytest tests/test_image.py

lint: $(TEST_STAMP) ## Check style and format
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

typecheck: $(TEST_STAMP) ## Check types
	$(TYPECHECK_ENV) $(PY) -m mypy vcp apps voicelens bench faults

coverage: $(TEST_STAMP) ## Check that the protocol's own tests take every branch of vcp/
	$(PY) -m coverage run --branch --source=vcp --omit='vcp/tests/*' -m pytest -q vcp -n 0
	$(PY) -m coverage report --skip-covered --show-missing --fail-under=100

proof: $(TEST_STAMP) ## Run the property tests with 20 times as many examples as the suite does
	PROOF=20 $(PY) -m pytest -q vcp apps/providers/engine -n $(JOBS)

bench: $(RUN_STAMP) ## Measure how fast one core validates, writes and makes messages; compare with the last time
	@$(PY) -m bench

bench-normalise: $(RUN_STAMP) ## Measure how many deliveries a second one core normalises
	@$(BENCH_ENV) $(PY) -m bench.normalise

# In a database of its own, which goes with the folder.
bench-monitoring: $(RUN_STAMP) ## Measure how many checks of providers' pages one worker works off
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
		$(BENCH_ENV) DATA_DIR=$$folder DATABASE_URL=sqlite:///$$folder/bench.sqlite3 $(PY) -m bench.monitoring

bench-two-phase: $(RUN_STAMP) ## Send 1,000 webhooks/s to the whole service, then look for each in its message and in the numbers
	@$(BENCH_ENV) $(PY) -m bench.two_phase
	@$(BENCH_ENV) $(PY) -m bench.two_phase --sqlite

bench-figures: $(RUN_STAMP) ## Write what the benches last measured into docs/performance.md
	@$(PY) -m bench.figures --write

bench-ingest: $(RUN_STAMP) ## Measure how many webhooks a second are acknowledged, beside a bare view and pgbench
	@$(BENCH_ENV) $(PY) -m bench.ingest

bench-drain: $(RUN_STAMP) ## Measure how many deliveries a second two worker processes turn into messages
	@$(BENCH_ENV) $(PY) -m bench.drain

faults: $(TEST_STAMP) ## Kill, freeze and cut off the running parts 50 times, and prove that nothing was lost (ROUNDS, SEED)
	@$(BENCH_ENV) $(PY) -m faults --profile postgres --rounds $(ROUNDS) --seed $(SEED)
	@$(BENCH_ENV) $(PY) -m faults --profile sqlite --rounds $(ROUNDS) --seed $(SEED)

clean: ## Remove .venv and caches; data and .env stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(PY):
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed; Python 3.11 or newer is needed." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V). Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo "$(PYTHON) cannot make a virtual environment; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }

# The interpreter only has to exist: it is a link, and its date is the system's.
$(RUN_STAMP): requirements.txt | $(PY)
	@echo "Installing requirements.txt into .venv"
	@$(PIP) -r requirements.txt
	@touch $@

$(TEST_STAMP): requirements-dev.txt requirements.txt | $(PY)
	@echo "Installing requirements-dev.txt into .venv"
	@$(PIP) -r requirements-dev.txt
	@touch $@ $(RUN_STAMP)
