# build, run, cluster, test, lint, demo and bench; see README.md.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
.PHONY: build run cluster test lint demo bench clean

VERSION ?= $(shell git describe --always --dirty 2>/dev/null || echo dev)

build: ## bin/rollcall
	@go build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/rollcall ./cmd/rollcall

run: build ## serve with everything embedded, data in ./data
	@exec bin/rollcall serve

cluster: build ## the production shape on this machine: three NATS servers, PostgreSQL, two instances; data in ./data/cluster
	@exec bin/rollcall cluster

# Tests wait for disks, servers and browsers more than they compute: four packages at once keep two cores busy. Their programs are
# linked without what only a debugger needs, and vetted by lint alone.
test: ## every test, with the race detector; installs what the tests need when it can
	@.ci/deps
	@go test -race -json -p 4 -timeout 9m -vet=off -ldflags=-w ./... ./.ci/tally | go run ./.ci/tally

lint: ## formatting, vet, staticcheck
	@unformatted=$$(gofmt -l .); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	@go vet ./... ./.ci/tally
	@go tool staticcheck ./... ./.ci/tally

demo: build ## the whole path on sample data
	@bin/rollcall demo

bench: build ## figures against the raw parts, on this machine
	@bin/rollcall bench

clean: ## forget what was built; data stays
	@rm -rf bin
