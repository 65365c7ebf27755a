# Each target makes .venv and installs what is missing: Python >= 3.11 and make are all a user needs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo emodb test unit test-cluster cluster check bench clean

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || (echo "mer_ray needs Python >= 3.11; set PYTHON=/path/to/python3.11"; exit 1)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing mer_ray: about 7 GB, some minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

setup: .venv/.ready  ## make .venv and install everything

demo: setup  ## synthetic clips -> features -> four trainings -> report, no GPU, about 2 minutes on 2 cores
	$(BIN)/mer-ray run jobs/demo.yaml

test: setup check unit  ## checks and all tests but those of test-cluster
	$(BIN)/pytest -n 2 --dist loadfile --ignore=tests/cluster -m "slow or browser or ray"

unit: setup  ## the fast tests
	$(BIN)/pytest -n 2 tests/unit tests/contracts tests/golden -m "not slow and not ray and not browser"

# ONLY="cluster and not chaos": jobs, autoscaling, metrics, without the tests that kill things again and again.
ONLY ?= chaos or cluster
# Of workers, nodes and drivers of extractions each, at random moments; 30 find rarer faults, and take ten minutes more.
KILLS ?= 6
test-cluster: setup  ## clusters of several processes: jobs, autoscaling, metrics, faults; 20 minutes on 2 cores
	KILLS=$(KILLS) $(BIN)/pytest -n 2 --dist loadfile tests/cluster -m "$(ONLY)"

cluster: setup  ## a cluster on this machine with logical GPUs and an autoscaler, until Ctrl-C
	$(BIN)/python cluster/local/local_cluster.py

check: setup  ## style, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup  ## measure the figures, print a table, write bench.json
	$(BIN)/mer-ray bench

clean:
	rm -rf out build .venv
