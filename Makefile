# redthread: `make run` builds what is needed and serves, `make test` runs every test.
SHELL := /bin/bash
GO ?= go
BIN := bin/redthread
VERSION ?= $(shell git describe --always --dirty 2>/dev/null || echo unknown)
TEMPL := $(GO) tool templ

.PHONY: help run demo build static generate fmt lint test test-go test-js race fuzz soak bench browser check clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t14

run: build ## build what is needed and serve
	./$(BIN) serve

demo: build ## serve a living demo in its own folder ./redthread-demo
	./$(BIN) demo --data ./redthread-demo

build: static ## build bin/redthread
	CGO_ENABLED=1 $(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o $(BIN) ./cmd/redthread

static: static/third_party/.stamp ## fetch the pinned browser libraries

static/third_party/.stamp: package.json package-lock.json
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	sh static/third_party.sh
	touch $@

generate: ## templ files to Go
	$(TEMPL) generate -path . >/dev/null

fmt: ## format Go and templ
	gofmt -w $$(git ls-files '*.go' | grep -v _templ.go)
	$(TEMPL) fmt views >/dev/null

lint: static ## vet, staticcheck, formatting
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not gofmt'ed:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

test: static tools test-js test-go ## every test, browser tests too

.PHONY: tools
tools:
	@sh .ci/tools

test-js:
	node --test static/js/

test-go:
	$(GO) test $(TESTFLAGS) ./...

race: static tools ## every Go test under the race detector
	$(GO) test -race -tags invariants ./...

browser: static tools ## the browser tests alone
	$(GO) test -run Browser -v ./cmd/redthread/

FUZZTIME ?= 10s
fuzz: ## each fuzz target for FUZZTIME
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg; done; done

# Tests whose figures soak prints.
LONG := TestKill|TestCrash|TestEveryStepFails|TestOverload|TestQueriesDuringIngest|TestLiveCrash
soak: static tools ## the long tests at full size, with their figures, then 10 minutes of each fuzz target (hours)
	set -o pipefail; REDTHREAD_SOAK=1 $(GO) test -timeout 120m -count=1 -p 1 -v -run '$(LONG)' ./tracestore ./cmd/redthread | grep -vE '"level":|level=|^=== '
	set -o pipefail; REDTHREAD_SOAK=1 $(GO) test -race -timeout 120m -count=1 -parallel 6 -v -run TestLiveFuzz ./handlers | grep -vE '"level":|level=|^=== |PASS: TestLiveFuzz/'
	REDTHREAD_SOAK=1 $(GO) test -timeout 120m -count=1 -p 1 -skip '$(LONG)|TestLiveFuzz' ./...
	$(MAKE) fuzz FUZZTIME=10m

bench: ## Go benchmarks; BenchmarkStore and BenchmarkEdgeCost take in a million rows (REDTHREAD_BENCH_ROWS)
	$(GO) test -run '^$$' -bench . -benchmem ./...

check: static ## what CI runs: generated files fresh, lint, every test
	$(MAKE) generate
	@git diff --exit-code --stat -- '*_templ.go' || { echo "generated files differ: run make generate and commit"; exit 1; }
	$(MAKE) lint
	$(MAKE) test TESTFLAGS="-race -tags invariants -timeout 25m"

clean: ## remove what was built and fetched
	rm -rf bin node_modules
	find static/third_party -type f ! -name README.md -delete
