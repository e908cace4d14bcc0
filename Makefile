# Everything that CI, a developer and a curious person run. Tests and the demo
# need root for namespaces and mounts: they ask sudo if they are not root.

GO ?= go
export CGO_ENABLED = 0
SUDO = $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=GOFLAGS,GOPROXY,GOCACHE,FAIRWAY_TEST_CACHE,CGO_ENABLED env "PATH=$$PATH:/usr/local/sbin:/usr/sbin:/sbin")

# Packages with tests of a tier, found by their build tag.
with_tag = $(sort $(dir $(shell grep -rl --include='*_test.go' '^//go:build $(1)$$' . | sed 's,^\./,./,')))

# The managed plugin: its name in Docker, and the client that makes it.
PLUGIN ?= fairway
DOCKER ?= docker

.PHONY: help build plugin release test test-unit test-mutants test-kernel test-vm test-vm-whole test-vm-engine test-release test-e2e demo bench lint fuzz clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/fairway, one static file
	$(GO) build -trimpath -o bin/ ./cmd/fairway

plugin: build ## make the managed plugin fairway:latest in this machine's Docker Engine
	packaging/plugin/make bin/fairway bin/plugin
	$(SUDO) $(DOCKER) plugin create $(PLUGIN) bin/plugin

VERSION ?= $(shell git describe --tags --match 'v[0-9]*' 2>/dev/null | sed 's/^v//' | grep . || echo 0.0.0+$$(git rev-list --count HEAD).g$$(git rev-parse --short HEAD))

release: ## make packages (deb, rpm, apk), archives and bills of materials of both architectures in bin/release
	packaging/release/make bin/release $(VERSION)

test: lint test-unit test-mutants test-kernel test-vm test-e2e ## run all tests but those of releases and the long ones in the virtual machine (root; under 30 minutes)

test-unit: ## run the tests that need no root (under 3 minutes)
	$(GO) test ./...

test-mutants: ## plant bugs, one at a time, and check that the model test catches each
	$(GO) test -tags mutants -timeout 15m ./test/mutants

# Level 1 of the model is part of test-unit. Its other level takes longest: it begins.
kernel = $(call with_tag,kernel)
test-kernel: packages ## run the tests against this kernel, in namespaces of their own (root)
	$(SUDO) $(GO) test -tags kernel -timeout 15m -parallel 4 -skip '^TestModel$$' $(filter ./test/model/,$(kernel)) $(filter-out ./test/model/,$(kernel))

test-vm: ## run the tests that need modules of Debian 12's kernel, in an emulated machine (root; makes its directory first, once)
	@$(SUDO) test/packages qemu-system-x86_64:qemu-system-x86
	$(SUDO) $(GO) test -tags vm -timeout 20m ./test/vm

test-vm-whole: ## run nearly all kernel tests there (root; 15 minutes and more on a busy machine)
	@$(SUDO) test/packages qemu-system-x86_64:qemu-system-x86
	$(SUDO) $(GO) test -tags vm -timeout 61m ./test/vm -whole -limit 60m

test-vm-engine: ## run Docker Engine 20.10 there, for ipvlan and VLANs (root; long: 15 minutes and more on a busy machine)
	@$(SUDO) test/packages qemu-system-x86_64:qemu-system-x86
	$(SUDO) $(GO) test -tags vm -timeout 61m ./test/vm -part test/e2e -limit 60m

test-release: packages ## make packages and try them on a Debian run by systemd, with linters (root; makes its directories first, once)
	$(SUDO) $(GO) test -tags release -timeout 20m -parallel 2 ./test/service

test-e2e: packages ## run the tests on real Docker Engines (root; makes their directories first, once)
	$(SUDO) $(GO) test -tags e2e -timeout 40m -parallel 5 ./test/e2e

demo: packages ## show fairway at work on a host made of namespaces (root)
	@$(SUDO) $(GO) run -buildvcs=false ./test/demo

bench: packages ## measure attach, detach, docker's commands beside the built-in bridge, and overlays beside a hand-made VXLAN (root)
	$(SUDO) $(GO) test -tags bench -run '^$$' -bench . -timeout 60m ./test/bench
	$(SUDO) $(GO) test -tags kernel -run '^$$' -bench . -benchtime 3x ./overlay

lint: ## check the form of the code
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo "lint: the files above are not gofmt's"; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags kernel ./...
	$(GO) vet -tags e2e ./...
	$(GO) vet -tags bench ./...
	$(GO) vet -tags mutants ./...
	$(GO) vet -tags release ./test/service
	$(GO) vet -tags kernel,vm ./link ./test/...
	$(GO) vet -tags e2e,vm ./test/e2e/...
	$(GO) vet -tags vm ./test/vm

fuzz: ## run each fuzz target for FUZZTIME (10s)
	@for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n 1 dirname | sort -u); do \
		for target in $$(grep -ho '^func Fuzz[A-Za-z0-9]*' $$dir/*_test.go | cut -d' ' -f2); do \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $${FUZZTIME:-10s} $$dir || exit 1; \
		done; \
	done

clean: ## remove what was built here
	rm -rf bin

.PHONY: packages
packages:
	@$(SUDO) test/packages
