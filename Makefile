# `make demo` and `make test` are all that a fresh machine needs: both set up .venv by themselves.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# of `make bench`: cpu, or cuda where there is a graphics card
DEVICE ?= cpu
# further extras of pyproject.toml, with commas: `make setup EXTRAS=robosuite`
EXTRAS ?=
CORES := $(shell nproc 2>/dev/null || echo 2)

.PHONY: setup demo test check bench clean

setup: $(READY)
	$(if $(EXTRAS),$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]")

# torch first and pinned: see constraints.txt
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,pusht,mujoco,video,vision,tokens,serve,export,language]"
	# asks for numpy<2 but works with the newer one; only tests/serve uses it, and skips without it
	-$(BIN)/python -m pip install --quiet --no-deps openpi-client==0.1.2
	touch $(READY)

demo: $(READY)
	$(BIN)/holdfast demo --out demo --overwrite

# The first half also checks the shapes and types of annotations at every call, which takes most of the time where one
# function is called ten thousand times, as in simulations.
CHECKED = tests/control tests/models tests/nn tests/policy tests/report tests/tokens tests/test_types.py
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(CORES)

test: $(READY)
	$(PYTEST) --jaxtyping-packages=holdfast,beartype.beartype $(CHECKED)
	$(PYTEST) $(CHECKED:%=--ignore=%)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(READY)
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/variants.py --updates 64 --device $(DEVICE)
	$(BIN)/python benchmarks/compiled.py --only gains unet transformer --device $(DEVICE)
	$(BIN)/python benchmarks/environments.py
	$(BIN)/python benchmarks/windows.py
	$(BIN)/python benchmarks/peers.py --peers diffusion-policy --device $(DEVICE)

clean:
	rm -rf .venv demo
