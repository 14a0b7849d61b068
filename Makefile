# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Small networks train many times slower with several threads on a busy machine.
export OMP_NUM_THREADS ?= 1

# MkDocs need not advertise its successors at each build.
export NO_MKDOCS_2_WARNING := 1

.PHONY: demo test check docs format bench tables bench-policies mutants clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[dev,docs]"
	touch $@

demo: $(VENV)/.installed
	$(BIN)/steadyhand tour --out runs/tour --overwrite

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q docs README.md tests/unit/docs/test_pages.py
	$(BIN)/mkdocs build --quiet

# The site, in build/site/index.html; any warning is an error.
docs: $(VENV)/.installed
	$(BIN)/mkdocs build --quiet

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/all.py

# Writes the tables of docs/results from the cells; says under each how old they are.
TABLES := first_loop control pendulum_return joints racing experts ccil_mechanics recipes modular multimodal law remedies human bimodal_gate handwriting ccil \
	mujoco_remedies dart_gap refusals
tables: $(VENV)/.installed
	for name in $(TABLES); do $(BIN)/python benchmarks/$$name.py table || exit 1; done

# Every policy class against its floor, and against peers where PEERS and PEER_BENCH name them; half an hour.
bench-policies: $(VENV)/.installed
	$(BIN)/python benchmarks/all.py policies_speed

# Changes one place of the source at a time and asks the tests; an hour, most of it once.
mutants: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet coverage
	$(BIN)/python benchmarks/mutants.py

clean:
	rm -rf $(VENV) runs build .ruff_cache .import_linter_cache .hypothesis
