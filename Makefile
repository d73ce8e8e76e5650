# Every target creates what it needs (a virtual environment in .venv, the locked packages) and is quick when that is done.
# PYTHON=/path/to/python3.12 chooses the interpreter of the environment.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
export PYTHON

.PHONY: help peers test-robot setup practice vision demo test check format bench verify-practice verify-ros verify-data verify-car verify-images verify-lerobot fci-sim lock clean

help:  ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */\1|/' | awk -F'|' '{printf "  make %-16s %s\n", $$1, $$2}'

setup:  ## Create .venv with everything for practising, tests and checks.
	@bash scripts/setup.sh dev

practice:
	@bash scripts/setup.sh practice

vision:  ## Add what learning from pictures needs: torch's CPU build and an encoder's weights (about 250 MB).
	@bash scripts/setup.sh vision

demo: practice  ## Teach the arm twin to pick up a cube; leaves a video and a report in runs/demo.
	@ROBOT_RL_SETUP_S=$$(cat .venv/.setup_s) $(BIN)/robot-rl demo $(ARGS)

test: setup  ## Run the tests, two at a time. ARGS="-k replay" passes options to pytest.
	@$(BIN)/python -m pytest -n 2 -m "not robot" $(ARGS)

test-robot: setup  ## Run the tests that drive robots in real time, one at a time: ROS 2 nodes, twins, the Franka's simulator.
	@$(BIN)/python -m pytest -m robot $(ARGS)

check: setup  ## Check format, lint, types and the direction of imports.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright --pythonpath $(BIN)/python
	@$(BIN)/lint-imports

format: setup  ## Format the code and apply the safe lint fixes.
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

bench: practice  ## Run the benchmarks; leaves benchmarks/latest.json.
	@$(BIN)/python -m benchmarks.run $(ARGS)

verify-practice: setup  ## Measure every claim of the README that fits in 15 minutes.
	@$(BIN)/python scripts/verify_practice.py $(ARGS)

fci-sim:  ## Create .venv-fci: a simulator of the Franka's network protocol. RUN=1 also starts it on 127.0.0.1.
	@bash scripts/fci_sim.sh $(if $(RUN),run $(ARGS))

peers: setup  ## Fetch programs that are not ours into .peers: CRISP's client, a node of another ROS distribution.
	@bash scripts/crisp_peer.sh
	@bash scripts/kilted_peer.sh

verify-ros: setup fci-sim peers  ## Measure every claim about driving the real thing that fits in 15 minutes.
	@$(BIN)/python scripts/verify_ros.py $(ARGS)

verify-data: setup  ## Measure every claim about recording, replaying and sharing that fits in 15 minutes.
	@$(BIN)/python scripts/verify_data.py $(ARGS)

verify-car: setup  ## Measure every claim about the car that fits in 15 minutes.
	@$(BIN)/python scripts/verify_car.py $(ARGS)

verify-images: setup  ## Measure every claim about learning from pictures that fits in 15 minutes. ARGS="--only train" trains.
	@$(BIN)/python scripts/verify_images.py $(ARGS)

verify-lerobot: setup  ## Export episodes and read them with the real lerobot package, in an environment of its own.
	@bash scripts/lerobot_env.sh
	@$(BIN)/python scripts/verify_lerobot.py $(ARGS)

lock:  ## Write the lock files anew from pyproject.toml. UPGRADE=1 takes newer versions.
	@bash scripts/lock.sh

clean:  ## Remove the environment and the caches; runs/ stays.
	rm -rf .venv .venv-fci .venv-lerobot .setup.lock* build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
