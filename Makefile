# Every target works in a fresh clone on Debian with Go, make and git; the rest is installed at need.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# The drivers that can be linked in, and so the build tags custom,drivers.<name>.
# A test in drivers/all compares this list with the folders and the link files.
DRIVERS = eventstore memory redis

# Versions of the tools; protoc-gen-go has the version of google.golang.org/protobuf in go.mod.
GOLANGCI_LINT_VERSION      := v2.15.0
PROTOC_GEN_GO_GRPC_VERSION := v1.6.2

# What a caller may set on the command line.
DRIVER       ?= memory
PKG          ?= ./...
TEST_TIMEOUT ?= 30m
TESTFLAGS    ?=
BENCH        ?= .
BENCHTIME    ?= 200ms
SAMPLE_DATA  ?= sample-data
SAMPLE_CALLS ?= 0
DEMO_REPORT  ?= demo-report
FAULTS       ?= .
# The chain of the demo goes back soon: it has three minutes.
DEMO_SETTINGS = policy.hold_down=3s

TOOLS              := $(CURDIR)/.tools
GOLANGCI_LINT      := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)/golangci-lint
PROTOC_GEN_GO      := $(TOOLS)/protoc-gen-go/protoc-gen-go
PROTOC_GEN_GO_GRPC := $(TOOLS)/protoc-gen-go-grpc-$(PROTOC_GEN_GO_GRPC_VERSION)/protoc-gen-go-grpc

# New folders with a main.go are found by themselves; those with a go.mod are modules of their own.
NESTED   := $(patsubst %/go.mod,%,$(wildcard examples/*/go.mod))
COMMANDS := $(patsubst cmd/%/main.go,%,$(wildcard cmd/*/main.go))
PLUGINS  := $(patsubst plugins/%/main.go,%,$(wildcard plugins/*/main.go))
EXAMPLES := $(patsubst examples/%,%,$(filter-out $(NESTED),$(patsubst %/main.go,%,$(wildcard examples/*/main.go))))
BINARIES := $(COMMANDS:%=bin/%) $(PLUGINS:%=bin/understudy-%) $(EXAMPLES:%=bin/%)

# The combinations of build tags that test-tags goes through; "none" stands for a plain build.
EMPTY    :=
SPACE    := $(EMPTY) $(EMPTY)
TAG_SETS := none custom $(DRIVERS:%=custom,drivers.%) custom,drivers

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build every program into bin/
	go build ./...
	@[[ -z "$(BINARIES)" ]] || $(MAKE) $(BINARIES)

$(COMMANDS:%=bin/%): bin/%: FORCE
	go build -trimpath -o $@ ./cmd/$*

$(PLUGINS:%=bin/understudy-%): bin/understudy-%: FORCE
	go build -trimpath -o $@ ./plugins/$*

$(EXAMPLES:%=bin/%): bin/%: FORCE
	go build -trimpath -o $@ ./examples/$*

.PHONY: FORCE
FORCE:

.PHONY: test
test: deps ## everything that must hold: verify, lint, race tests, vet and build of all tags, nested modules
	@failed=(); \
	for step in verify lint test-race test-tags test-nested; do \
		echo "== $$step =="; \
		$(MAKE) $$step || failed+=("$$step"); \
	done; \
	[[ $${#failed[@]} -eq 0 ]] || { echo "make test: failed: $${failed[*]}" >&2; exit 1; }

.PHONY: test-short
test-short: ## the quick tests (-short), without the race detector
	go test -short -timeout $(TEST_TIMEOUT) $(TESTFLAGS) $(PKG)

.PHONY: test-race
test-race: deps ## all tests with the race detector; PKG=./chain/... for some
	go test -race -timeout $(TEST_TIMEOUT) $(TESTFLAGS) $(PKG)

.PHONY: test-faults
test-faults: deps ## every fault of stores, network, plugins and hosts, on real servers; FAULTS=Flapping for some, FAULTS_SEED=1 to repeat one
	go vet -tags faults ./chain ./chain/faults
	go test -race -tags faults -count=1 -timeout 20m -v -run '$(FAULTS)' $(TESTFLAGS) ./chain/faults
	[[ '$(FAULTS)' != . ]] || go test -race -tags faults -count=1 -timeout 10m -v -run InEveryArea $(TESTFLAGS) ./chain

.PHONY: contract
contract: deps ## the whole contract suite on one driver: make contract DRIVER=memory
	@[[ -d drivers/$(DRIVER) ]] || { echo "make contract: no driver \"$(DRIVER)\"; there is: $(DRIVERS)" >&2; exit 2; }
	REDIS_CONTRACT=all go test -race -timeout $(TEST_TIMEOUT) $(TESTFLAGS) -run '^TestContract' ./drivers/$(DRIVER)/...

.PHONY: golden
golden: ## compare the development Event Store with the record of a real server
	go test -count=1 -timeout $(TEST_TIMEOUT) $(TESTFLAGS) -run '^Test(DevelopmentServer|Documentation)' ./drivers/eventstore/devserver/eventstoregolden

.PHONY: test-tags
test-tags: $(TAG_SETS:%=tags-%) ## build and vet each combination of build tags, and prove what each links
	go test -timeout $(TEST_TIMEOUT) -run '^TestTags' ./drivers/all

.PHONY: $(TAG_SETS:%=tags-%)
$(TAG_SETS:%=tags-%): tags-%:
	go build -tags '$(filter-out none,$*)' ./...
	go vet -tags '$(filter-out none,$*)' ./...

.PHONY: test-nested
test-nested: ## vet and test the modules under examples/ that have a go.mod of their own
	@for dir in $(NESTED); do (set -x; cd "$$dir" && go vet ./... && go test -race -timeout $(TEST_TIMEOUT) ./...); done

.PHONY: lint
lint: $(GOLANGCI_LINT) ## golangci-lint as set in .golangci.yml
	$(GOLANGCI_LINT) run ./...

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## format the code
	$(GOLANGCI_LINT) fmt ./...

.PHONY: generate
generate: deps $(PROTOC_GEN_GO) $(PROTOC_GEN_GO_GRPC) ## make the generated code and pages anew
	PATH="$(dir $(PROTOC_GEN_GO)):$(dir $(PROTOC_GEN_GO_GRPC)):$$PATH" go generate ./...

.PHONY: verify
verify: deps $(PROTOC_GEN_GO) $(PROTOC_GEN_GO_GRPC) ## generated code, go.mod, format, licence headers, goleak and paths are as they should be
	@MAKE='$(MAKE)' scripts/verify.sh

.PHONY: bench
bench: deps ## short benchmarks into bench.txt; BENCH=Commit PKG=./drivers/... for some
	go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem -timeout 30m $(PKG) | tee bench.txt

.PHONY: cover
cover: deps ## coverage into coverage/, by package and as a page
	@mkdir -p coverage
	go test -coverpkg=./... -coverprofile=coverage/cover.out -timeout $(TEST_TIMEOUT) $(PKG)
	go tool cover -html=coverage/cover.out -o coverage/cover.html
	@go tool cover -func=coverage/cover.out | tail -1

.PHONY: sample-data
sample-data: ## real recordings and their Master.csv into sample-data/; SAMPLE_CALLS=2000 for more calls
	@sounds=$$(scripts/sounds.sh) && \
	go run ./examples/recorder/sampledata -sounds "$$sounds" -out '$(SAMPLE_DATA)' -calls $(SAMPLE_CALLS) && \
	cp "$$sounds/../../../doc/asterisk-core-sounds-en-wav/copyright" '$(SAMPLE_DATA)/COPYRIGHT'

.PHONY: demo
demo: SAMPLE_CALLS = 2000
demo: deps-demo build sample-data ## the recorder on real recordings, with failures on purpose
	bin/recorder demo -config conf/understudy.yaml $(DEMO_SETTINGS:%=-set %) -data '$(SAMPLE_DATA)' -report '$(DEMO_REPORT)'

.PHONY: deps-demo
deps-demo:
	@scripts/deps.sh redis-server

.PHONY: clean
clean: ## remove what was built, made or measured; keeps the tools
	rm -rf bin coverage sample-data demo-report bench.txt

.PHONY: deps
deps: ## install the Debian packages that are missing (as root), or say which
	@scripts/deps.sh

.PHONY: tools
tools: $(GOLANGCI_LINT) $(PROTOC_GEN_GO) $(PROTOC_GEN_GO_GRPC) ## build the pinned tools into .tools/

$(GOLANGCI_LINT):
	GOBIN='$(@D)' go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

$(PROTOC_GEN_GO): go.mod
	@mkdir -p '$(@D)'
	go build -o '$@' google.golang.org/protobuf/cmd/protoc-gen-go

$(PROTOC_GEN_GO_GRPC):
	GOBIN='$(@D)' go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@$(PROTOC_GEN_GO_GRPC_VERSION)
