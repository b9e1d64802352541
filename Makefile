.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SEEDS ?= 1000
LINES ?= 200000
EXAMPLES ?= 2000
MINUTES ?= 30
ONLY ?=
CLIENTS := build/clients
GOPATH ?= /usr/share/gocode
PLUGINS ?=

.PHONY: help run test test-clients test-js test-go test-terraform lint types sim demo bench faults overload connections fuzz proto clean

help: ## Show what can be done
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Threefold needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Setting up $(VENV) (once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(READY)

run: $(READY) ## Start a three-zone cluster on this machine
	@$(BIN)/broker cluster --zones 3

test: $(READY) ## Run the tests
	@$(BIN)/python -m pytest -n auto

test-clients: $(READY) $(CLIENTS)/celery $(CLIENTS)/dramatiq $(CLIENTS)/awscli ## Run Celery, dramatiq and aws-cli against a real node
	@$(BIN)/python -m pytest -n 0 tests/conformance/sqs/test_clients.py -k 'not javascript and not sdk_of_go'

test-js: $(READY) $(CLIENTS)/js ## Run the SDK for JavaScript and sqs-consumer against a real node; needs Node.js and npm
	@$(BIN)/python -m pytest -n 0 tests/conformance/sqs/test_clients.py -k javascript

test-go: $(READY) $(CLIENTS)/go ## Run the SDK for Go against a real node; needs Go and the SDK under GOPATH (Debian has both)
	@$(BIN)/python -m pytest -n 0 tests/conformance/sqs/test_clients.py -k sdk_of_go

test-terraform: $(READY) ## Run Terraform against a real node: make test-terraform PLUGINS=folder-with-the-provider
	@TERRAFORM_PLUGINS='$(PLUGINS)' $(BIN)/python -m pytest -n 0 tests/conformance/sqs/test_terraform.py

$(CLIENTS)/go: tests/conformance/sqs/clients/queues.go
	@GO111MODULE=off GOPATH=$(GOPATH) go build -o $@/bin/queues $<

$(CLIENTS)/js:
	@mkdir -p $@ && npm install --silent --no-fund --no-audit --prefix $@ sqs-consumer @aws-sdk/client-sqs || { rm -rf $@; exit 1; }

$(CLIENTS)/celery: CLIENT = celery[sqs]
$(CLIENTS)/dramatiq: CLIENT = dramatiq_sqs
$(CLIENTS)/awscli: CLIENT = awscli
$(CLIENTS)/%:
	@echo "Setting up $(CLIENT) (once) ..."
	@$(PYTHON) -m venv $@
	@$@/bin/python -m pip install --quiet --disable-pip-version-check '$(CLIENT)' || { rm -rf $@; exit 1; }

lint: $(READY) ## Check style and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY) ## Check types (mypy --strict)
	$(BIN)/mypy

sim: $(READY) ## Run the cluster simulator over many seeds: make sim SEEDS=10000
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS)

demo: $(READY) ## Send real text through the cluster, kill the leader with -9 midway, print the verdict
	@$(BIN)/python -m loadtest demo --lines $(LINES)

bench: $(READY) ## Measure CPU per message of a three-zone cluster
	@$(BIN)/python -m loadtest bench

faults: $(READY) ## Break a cluster in every way under every workload: make faults MINUTES=60 ONLY=cut,fifo
	@GRPC_VERBOSITY=ERROR $(BIN)/python -m loadtest.faults --minutes $(MINUTES) --only "$(ONLY)"

overload: $(READY) ## Offer a cluster three times what it sustains: what is accepted, refused, and how long it takes
	@$(BIN)/python -m loadtest.overload

connections: $(READY) ## Hold 10,000 idle connections to one node, and open 1,000 new ones a second
	@$(BIN)/python -m loadtest.connections

fuzz: $(READY) ## Say nonsense to every port and decoder: make fuzz EXAMPLES=5000
	@FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -n auto --timeout 3600 tests/fuzz

proto: $(READY) ## Regenerate broker/pb from proto/
	@$(BIN)/python proto/generate.py

clean: ## Remove what the targets made
	rm -rf $(VENV) .broker build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
