# The commands of the project. Everything but `demo`, the privileged tests and `check`'s installs runs as any user.
#
#   make build      bin/fastlb, one static binary; needs Go alone
#   make demo       a whole LVS site on this machine, real HTTP requests through it, then nothing left (root or sudo)
#   make test       every test; as root also those through the real AF_XDP, in network namespaces
#   make check      what CI runs
#   make generate   what is generated and committed: the XDP program (needs clang), the drop reasons
#   make bench      the dataplane's speed on this machine, with no NIC, beside bench/baseline.json; writes bin/bench.json.
#                   FAIL=1.5 makes it fail where a ratio is more than 1.5 times what it was; make bench-baseline writes the file
#   make pgo        a CPU profile of the bench as cmd/fastlb/default.pgo, which go build then goes by
#   make peers      packets a second and CPU time a packet over a veth: fastlb in DR and NAT, a bare forwarder,
#                   asavie/xdp, nftables. This and the next four: root; PEERS="-rounds 9" and the like are flags, PEERS=-h
#                   shows them
#   make latency    how long packets take at 10, 50 and 90 % of the maximum load, by workers.poll, and what an idle director costs
#   make disturbances  whether API calls, scraping, reloading and listing a million connections delay packets
#   make connections   ten million connections: memory, and ipvsadm -Lnc while packets flow
#   make site-peers    connections and requests a second through NAT, HAProxy and nginx stream
#   make fuzz       each fuzz target for FUZZTIME
#   make cover      test coverage by function, in bin/cover.txt
#   make conformance  the same packets and commands through fastlb and through the IPVS of a Debian kernel under QEMU: some
#                   minutes; SEED=N and RANDOM=N add random cases, CASES=EXPRESSION chooses those to be played
#   make zerocopy   the director in a machine under QEMU whose NICs can do AF_XDP zero copy: 10 MB both ways by NAT and DR,
#                   three to five minutes (root)

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:

GO       ?= go
FUZZTIME ?= 30s
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT   ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)

BUILD := CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)'
SUDO  := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

# As root no privileged test may be skipped.
export FASTLB_REQUIRE_E2E := $(shell [ "$$(id -u)" = 0 ] && echo 1)

.PHONY: build
build:
	@mkdir -p bin
	$(BUILD) -o bin/fastlb ./cmd/fastlb

.PHONY: demo
demo: needs-site build
	@$(SUDO) bin/fastlb lab run

.PHONY: test
test: needs-test
	@$(MAKE) --no-print-directory test-packages test-e2e

# The end-to-end tests have the machine to themselves.
.PHONY: test-packages
test-packages:
	@$(GO) test -timeout 15m $$($(GO) list ./... | grep -v /e2e)
	cd perf/peers && $(GO) test -timeout 5m ./...

.PHONY: test-e2e
test-e2e: needs-test
	@$(GO) test -timeout 15m ./e2e/...

# The order is from quick to slow; the tests come last.
.PHONY: check
check: needs-test needs-check needs-machine
	@for step in format vet staticcheck lint generated cross race bench-once bench-check peers-once test-packages test-e2e zerocopy; do
		printf '\n== %s\n' $$step
		start=$$SECONDS
		$(MAKE) --no-print-directory $$step
		[[ $$step = test-* ]] || echo "$$step: $$((SECONDS - start)) s"
	done

.PHONY: format
format:
	@bad=$$(git ls-files '*.go' | xargs gofmt -l)
	if [ -n "$$bad" ]; then echo "not formatted (gofmt -w):"; echo "$$bad"; exit 1; fi

.PHONY: vet
vet:
	@$(GO) vet ./...
	cd perf/peers && $(GO) vet ./...

.PHONY: staticcheck
staticcheck:
	@$(GO) tool staticcheck ./...

.PHONY: lint
lint:
	@$(GO) tool ineffassign ./...
	git ls-files '*.go' '*.md' | xargs $(GO) tool misspell -error -i ect

# What is generated and committed is what the generators make today.
.PHONY: generated
generated: generate
	@$(GO) mod tidy
	git diff --exit-code

.PHONY: generate
generate:
	@$(GO) generate ./...

# Systems and processors that this machine cannot run.
.PHONY: cross
cross:
	@CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) build -o /dev/null ./cmd/fastlb
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) vet ./...
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 $(GO) vet ./...

# The race detector sees races on the Go heap only (it is silent on mapped memory), so the packages whose tests keep their
# shared memory there.
.PHONY: race
race:
	@$(GO) test -race -short -timeout 15m $$($(GO) list ./... | grep -Ev '/(e2e|lab|xdp|cmd|bench|internal/arch)')

# So that no benchmark rots.
.PHONY: bench-once
bench-once:
	@$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 15m $$($(GO) list ./... | grep -v /e2e) | grep -v '^?\|no test files'

BENCH := --connections 1000,1000000,10000000 --duration 300ms
FAIL  ?=

.PHONY: bench
bench: build
	@bin/fastlb bench $(BENCH) --repeat 3 --write bin/bench.json --compare bench/baseline.json $(if $(FAIL),--fail-above $(FAIL))

.PHONY: bench-baseline
bench-baseline: build
	@bin/fastlb bench $(BENCH) --repeat 5 --write bench/baseline.json

# For rightness, not for speed: every row of the baseline that fits into a small machine is there, and its numbers can be.
.PHONY: bench-check
bench-check: build
	@bin/fastlb bench --connections 1000,1000000 --duration 2ms --compare bench/baseline.json --fail-above 1000 >/dev/null

# What a busy site does: mostly established packets, over a table that misses the caches, and new connections between.
.PHONY: pgo
pgo: build
	@bin/fastlb bench --connections 1000,1000000 --duration 400ms --stages=false --cpuprofile bin/bench.pprof
	$(GO) tool pprof -proto -focus 'worker\.\(\*Worker\)' -output cmd/fastlb/default.pgo bin/fastlb bin/bench.pprof

# Comparisons with others, a module of their own: perf/peers. PEERS are flags for the command.
PEERS ?=

.PHONY: build-peers
build-peers: build
	@cd perf/peers && $(GO) build -o ../../bin/peers .

.PHONY: peers
peers: build-peers needs-peers
	@$(SUDO) bin/peers packets $(PEERS)

.PHONY: latency disturbances connections
latency disturbances connections: build-peers needs-peers
	@$(SUDO) bin/peers $@ $(PEERS)

.PHONY: site-peers
site-peers: build-peers needs-peers
	@$(SUDO) bin/peers proxies $(PEERS)

# That all comparisons work, not what they measure.
.PHONY: peers-once
peers-once: build-peers needs-peers
	@$(SUDO) bin/peers packets -tries 1 -rounds 1 -duration 100ms >/dev/null
	$(SUDO) bin/peers latency -tries 1 -rounds 1 -duration 100ms -loads 10 -polls adaptive -idle 0s >/dev/null
	$(SUDO) bin/peers disturbances -tries 1 -rounds 1 -duration 100ms -connections 20000 >/dev/null
	$(SUDO) bin/peers connections -tries 1 -connections 50000 >/dev/null
	$(SUDO) bin/peers proxies -tries 1 -rounds 1 -duration 100ms >/dev/null

.PHONY: fuzz
fuzz:
	@for package in $$($(GO) list ./...); do
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do
			echo "== $$package $$target"
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$package
		done
	done

.PHONY: cover
cover: needs-test
	@mkdir -p bin
	$(GO) test -timeout 15m -coverpkg=./... -coverprofile bin/cover.out ./...
	$(GO) tool cover -func bin/cover.out >bin/cover.txt
	tail -1 bin/cover.txt

SEED  ?= $(shell od -An -N3 -tu4 /dev/urandom)
CASES ?=
RANDOM ?= 0

.PHONY: conformance
conformance: machine
	@CGO_ENABLED=0 GOARCH=amd64 $(GO) build -trimpath -ldflags '-s -w' -o bin/conformance-guest ./conformance/guest
	$(GO) build -o bin/conformance-run ./conformance/run
	bin/conformance-run -seed $(SEED) -random $(RANDOM) -cases '$(CASES)'

.PHONY: zerocopy
zerocopy: machine needs-site build
	@CGO_ENABLED=0 GOARCH=amd64 $(GO) build -trimpath -ldflags '-s -w' -o bin/zerocopy-guest ./e2e/zerocopy/guest
	$(GO) test -c -o bin/zerocopy.test ./e2e/zerocopy
	$(SUDO) env FASTLB_BIN=$(CURDIR)/bin bin/zerocopy.test -test.v -test.timeout 10m

# A kernel and its modules for machines under QEMU. What is downloaded stays in bin/machine: remove that to fetch anew.
.PHONY: machine
machine: needs-machine
	@mkdir -p bin
	internal/vm/image bin/machine

.PHONY: needs-machine
needs-machine:
	@.ci/need qemu-system-x86_64:qemu-system-x86 cpio:cpio modprobe:kmod xz:xz-utils zstd:zstd

.PHONY: needs-site
needs-site:
	@.ci/need ip:iproute2 ethtool:ethtool curl:curl nginx:nginx-light

.PHONY: needs-test
needs-test: needs-site
	@.ci/need vsftpd:vsftpd

.PHONY: needs-peers
needs-peers:
	@.ci/need ethtool:ethtool nft:nftables haproxy:haproxy nginx:nginx-light /usr/lib/nginx/modules/ngx_stream_module.so:libnginx-mod-stream

.PHONY: needs-check
needs-check:
	@.ci/need clang:clang llvm-strip:llvm gcc:gcc git:git
