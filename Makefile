# `make help` lists the targets. Everything that is downloaded or built once goes to ~/.cache/leastwise.
SHELL := bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GO      ?= go
# Two packages at a time: some tests load a whole ClickHouse engine into their process.
P       ?= 2

SOURCES    := vault cloudtrail gcpaudit certlog spire jwtregistry agentusage
COLLECTORS := $(SOURCES:%=collector-%)
BINARIES   := leastwise $(COLLECTORS) processor enforcer
main_leastwise := ./cmd/leastwise
main_processor := ./processor/cmd/processor
main_enforcer  := ./enforcer/cmd/enforcer
$(foreach c,$(COLLECTORS),$(eval main_$(c) := ./collectors/cmd/$(c)))

# The same for build, tests and linters, so that they share one build cache. The ClickHouse library is loaded without cgo.
export CGO_ENABLED := 0

LDFLAGS := -s -w -X github.com/leastwise/leastwise/internal/daemon.Version=$(VERSION)
# One pattern a module of go.work; `go test ./...` at the top would see none of them.
PACKAGES = $(shell $(GO) list -m -f '{{.Dir}}/...')
SUMMARY  = $(GO) run ./house/testsum
# Where goroutines share state.
RACE := ./internal/stream/... ./internal/daemon/... ./collectors/... ./processor/... ./enforcer/... ./console/...

.PHONY: help
help: ## this list
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

.PHONY: build $(BINARIES)
build: page $(BINARIES) ## bin/leastwise, bin/processor, bin/enforcer, and a bin/collector-SOURCE for each source

# The page is embedded in the binaries that serve it. Without npm they say how to build it.
PAGE := console/web
PAGE_SOURCES := $(shell find $(PAGE)/src $(PAGE)/public $(PAGE)/index.html $(PAGE)/package-lock.json $(PAGE)/vite.config.ts -type f 2>/dev/null)

.PHONY: page
page: ## the web page, by npm, if it is there
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory $(PAGE)/dist/index.html; else echo "no npm: the page is left out" >&2; fi

$(PAGE)/dist/index.html: $(PAGE_SOURCES)
	cd $(PAGE)
	npm ci --no-audit --no-fund --loglevel=error
	npm run build --silent
	touch dist/index.html

.PHONY: page-test
page-test: page ## types and tests of the page
	cd $(PAGE)
	npm run check --silent
	npm test --silent

.PHONY: page-e2e
page-e2e: page ## a walk through the page in Chromium (CHROMIUM, or Debian's), against an invented fleet
	cd $(PAGE)
	npm run e2e --silent

.PHONY: screenshots
screenshots: page ## every view at three widths, light and dark, into console/web/screenshots
	cd $(PAGE)
	npm run screenshots --silent

$(BINARIES):
	@mkdir -p bin
	$(GO) build -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/$@ $(main_$@)

.PHONY: libchdb
libchdb: ## fetch the ClickHouse engine as a library, once
	@tools/libchdb.sh

.PHONY: vault
vault: ## build the real Vault server, once (about 5 minutes)
	@tools/vault.sh >/dev/null

.PHONY: spire
spire: ## build the real SPIRE server and agent, once (about 9 minutes)
	@tools/spire.sh >/dev/null

.PHONY: moto
moto: ## install moto, which answers as S3, SQS and IAM do, once
	@tools/moto.sh >/dev/null

.PHONY: schemathesis
schemathesis: ## install schemathesis, which tries out the API, once
	@tools/schemathesis.sh >/dev/null

.PHONY: up
up: build libchdb ## the whole loop on a real Vault, SPIRE and moto with a fleet of agents, in this terminal
	@[ -n "$${LEASTWISE_VAULT:-}" ] || command -v vault >/dev/null || tools/vault.sh >/dev/null
	@[ -n "$${LEASTWISE_MOTO:-}" ] || command -v moto_server >/dev/null || tools/moto.sh >/dev/null || echo "the demo goes on without moto" >&2
	@[ -n "$${LEASTWISE_SPIRE:-}" ] || command -v spire-server >/dev/null || tools/spire.sh >/dev/null || echo "the demo goes on without SPIRE" >&2
	bin/leastwise demo

# go test does not see changes of files outside a test's own module; the house reads this variable so that its results
# are never taken from the cache.
test: export HOUSE_RUN = $(shell date +%s%N)
.PHONY: test
test: libchdb ## unit tests and tests with the embedded engines; needs no Vault
	$(GO) test -json -p $(P) $(PACKAGES) | $(SUMMARY)

.PHONY: race
race: libchdb ## the packages in which goroutines share state, under the race detector
	CGO_ENABLED=1 $(GO) test -race -json -p $(P) $(RACE) | $(SUMMARY)

# Tests that need a real Vault, a real SPIRE or moto have that in their name, and skip where it is not there.
.PHONY: e2e
e2e: build libchdb vault spire moto ## tests against the real Vault and SPIRE and moto, the demo until all is as expected, demo-walk and hostile
	export LEASTWISE_VAULT=$${LEASTWISE_VAULT:-$$(tools/vault.sh)} LEASTWISE_SPIRE=$${LEASTWISE_SPIRE:-$$(tools/spire.sh)} LEASTWISE_MOTO=$${LEASTWISE_MOTO:-$$(tools/moto.sh)}
	console/signin/testdata/provider/install.sh
	$(GO) test -json -count=1 -p 1 -run 'RealVault|RealSPIRE|Moto|OIDCProvider' $(PACKAGES) | $(SUMMARY)
	bin/leastwise demo --once
	if command -v "$${CHROMIUM:-chromium}" >/dev/null; then
		$(MAKE) --no-print-directory demo-walk hostile
	else
		echo "no Chromium: the walk through the demo's page and the hostile fleet are left out" >&2
	fi

.PHONY: hostile
hostile: build libchdb schemathesis ## a fleet of hostile strings through pipeline and console, in Chromium and to schemathesis
	export LEASTWISE_SCHEMATHESIS=$${LEASTWISE_SCHEMATHESIS:-$$(tools/schemathesis.sh)} CHROMIUM=$${CHROMIUM:-$$(command -v chromium || true)}
	cd cmd/leastwise
	$(GO) test -json -count=1 -timeout 30m ./hostile | (cd ../.. && $(SUMMARY))

.PHONY: demo-walk
demo-walk: build libchdb vault spire moto ## a walk through the demo's page in Chromium: sign in, ask, approve, stop, watch a revocation
	export LEASTWISE_VAULT=$${LEASTWISE_VAULT:-$$(tools/vault.sh)} LEASTWISE_SPIRE=$${LEASTWISE_SPIRE:-$$(tools/spire.sh)} LEASTWISE_MOTO=$${LEASTWISE_MOTO:-$$(tools/moto.sh)}
	cd $(PAGE)
	npm run demo --silent

.PHONY: bench
bench: build libchdb ## name, value, budget, ok or short
	bin/leastwise bench
	cd tools/compare && GOWORK=off $(GO) run . --log ../../collectors/cloudtrail/testdata/stolen-instance-credential.jsonl

.PHONY: bench-page
bench-page: build libchdb ## the page on 100,000 credentials and 5,000,000 events: pictures in Chromium, and the API with 20 readers
	bin/leastwise bench-page

.PHONY: crash
crash: build libchdb ## kill -9 at random moments, then compare with an uninterrupted run; SEED=n repeats one
	bin/leastwise crash $(if $(SEED),--seed $(SEED))

.PHONY: lint
lint: ## golangci-lint on every module, gofmt, buf lint and breaking
	tools/lint.sh

.PHONY: fmt
fmt: ## gofmt and buf format
	gofmt -w $$(git ls-files -co --exclude-standard '*.go')
	tools/proto.sh format

.PHONY: proto
proto: ## generate schemas/leastwisev1 from schemas/proto
	tools/proto.sh generate

.PHONY: tidy
tidy: ## one version of each dependency in all modules, and complete go.sum files
	$(GO) work sync
	for dir in $$($(GO) list -m -f '{{.Dir}}'); do (cd $$dir && GOWORK=off $(GO) mod tidy); done

.PHONY: clean
clean: ## remove what make build made; the caches stay
	rm -rf bin
