# Two commands for users: `make demo` and `make test`. Each makes .venv first, with the versions of constraints.txt.

PYTHON ?= python3
CUDA ?= cuda12
VIDEOS ?=
BIN := .venv/bin
ENV := .venv/.installed-$(CUDA)

.PHONY: demo train-demo test gpu-check lint types imports clean

demo: $(ENV)
	$(BIN)/mgdali demo $(if $(VIDEOS),"$(VIDEOS)")

train-demo: $(ENV)
	$(BIN)/python examples/train_demo.py

test: $(ENV)
	$(BIN)/python -m pytest

# On a machine with a GPU, with the packages that its python3 finds: nothing is installed.
gpu-check:
	$(PYTHON) benchmarks/gpu_check.py

lint: $(ENV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python .ci/check_phrases.py

types: $(ENV)
	$(BIN)/mypy

imports: $(ENV)
	$(BIN)/lint-imports

clean:
	rm -rf .venv mgdali-demo .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(ENV): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(CUDA),plot,remote,ray,dev]"
	touch $@
