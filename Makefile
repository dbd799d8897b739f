# Two commands for users: `make demo` and `make test`. Each makes .venv first, with the versions of constraints.txt.

PYTHON ?= python3
CUDA ?= cuda12
VIDEOS ?=
PYTEST_ARGS ?=
GPU_CHECK_ARGS ?=
FAST := not slow and not ray and not compiler and not gpu
# Two processes; the tests of a file stay in one of them, so that its videos are written once.
PARALLEL := -n 2 --dist loadfile
BIN := .venv/bin
ENV := .venv/.installed-$(CUDA)

# The tests start many processes. Without compiled modules, each of them would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo train-demo test test-all coverage gpu-check lint types imports docs clean

demo: $(ENV)
	$(BIN)/mgdali demo $(if $(VIDEOS),"$(VIDEOS)")

train-demo: $(ENV)
	$(BIN)/python examples/train_demo.py

# The tests that take little time: they need no cluster, no compiler and no GPU.
test: $(ENV)
	$(BIN)/python -m pytest $(PARALLEL) -m "$(FAST)" $(PYTEST_ARGS)

test-all: $(ENV)
	$(BIN)/python -m pytest $(PARALLEL) $(PYTEST_ARGS)

# The line coverage of both, and the ratio. Subprocesses are measured too.
coverage: $(ENV)
	$(BIN)/python -m pytest -q --cov --cov-report= $(PYTEST_ARGS) && $(BIN)/coverage json -q -o .coverage-all.json
	$(BIN)/python -m pytest -q --cov --cov-report= -m "$(FAST)" $(PYTEST_ARGS) && $(BIN)/coverage json -q -o .coverage-fast.json
	$(BIN)/python -c 'import json; \
	  fast, whole = (json.load(open(f".coverage-{name}.json"))["totals"] for name in ("fast", "all")); \
	  print("lines of mgdali/ covered: test %.1f %%, test-all %.1f %%, ratio %.3f" % (fast["percent_covered"], \
	  whole["percent_covered"], fast["covered_lines"] / whole["covered_lines"]))'

# On a machine with a GPU, with the packages that its python3 finds: nothing is installed.
# GPU_CHECK_ARGS="--only kernel-speed --again" runs one part once more.
gpu-check:
	$(PYTHON) benchmarks/gpu_check.py $(GPU_CHECK_ARGS)

lint: $(ENV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python .ci/check_phrases.py

types: $(ENV)
	$(BIN)/mypy

imports: $(ENV)
	$(BIN)/lint-imports

# The documentation site, in site/. Every warning is an error. Needs no network.
docs: $(ENV)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf .venv mgdali-demo .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage* site

$(ENV): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(CUDA),plot,remote,ray,frameworks,explore,browser-tests,docs,dev]"
	touch $@
