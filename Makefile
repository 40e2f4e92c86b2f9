# The way to work on trustpool. Tools are pinned here and run by their version, so that whoever imports a package of this module does not inherit them.

GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK   := golang.org/x/vuln/cmd/govulncheck@v1.9.0
BUF           := github.com/bufbuild/buf/cmd/buf@v1.75.0
APIDIFF       := golang.org/x/exp/cmd/apidiff@v0.0.0-20261014143641-f0251eb4aa3e
GOTESTSUM     := gotest.tools/gotestsum@v1.13.0
GREMLINS      := github.com/go-gremlins/gremlins/cmd/gremlins@v0.6.0
NFPM          := github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
export GOLANGCI_LINT GOVULNCHECK BUF GOTESTSUM NFPM APIDIFF

COMMANDS := trustpool-agent trustpool-server trustpool-sim trustpoolctl
# The toolchain stamps the version of the commit into the binaries, wherever git answers: not in an unpacked archive, nor in somebody else's clone.
STAMP    := $(shell git rev-parse HEAD >/dev/null 2>&1 && echo true || echo false)
DURATION ?= 60s
QUOTES   ?= 1000000
# Of make chaos: all, or "chaos" alone, without the test that sets the clock, for which the agent is built anew with Go's own libraries.
CHAOS    ?= chaos,clock
# Those of all pictures that the documentation shows.
SCREENSHOTS := overview overview-dark node node-phone effect
# Of make mutate: the package, without those in it that are judged by themselves.
PKG      ?= verifier/eventlog
# Of make bench: full, about a quarter of an hour; short, a minute, good for the hard gates only.
BENCH    ?= full

PART := .ci/part

.DEFAULT_GOAL := help
.PHONY: help build demo test endurance chaos soak check check-mod check-lint check-vulns check-licences check-proto check-api generate fuzz mutate bench bench-server pictures screenshots man package release package-test interop-test openstack-test kubernetes-test fleet-test vm-test clean need-go

help: ## Lists these targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: need-go ## Builds the static binaries into build/.
	CGO_ENABLED=0 go build -trimpath -buildvcs=$(STAMP) -ldflags '-s -w' -o build/ $(COMMANDS:%=./cmd/%)

demo: need-go ## Shows the main job on a simulated node, one trusted launch and two that are refused; and an attestation server that notices such a reboot.
	@.ci/packages swtpm
	@$(MAKE) --no-print-directory build
	@.ci/demo
	@.ci/demo-server

test: need-go ## Runs all the tests, with the race detector.
	@$(PART) packages .ci/packages gcc swtpm tpm2-tools openssl promtool chromium python3-jwt postgresql
	@$(PART) test .ci/test

endurance: need-go ## Quotes and enrols as often as a node does in weeks, and looks what it leaves in the TPM.
	@.ci/packages swtpm
	@$(PART) endurance go test -count=1 -run TestManyQuotesAndEnrolments ./agent/internal/tpm -endurance

chaos: need-go ## Breaks what a real agent stands on, one thing after the other, and checks each of its replies meanwhile (needs root); docs/reliability.md.
	@.ci/packages swtpm
	@$(PART) chaos go test -tags $(CHAOS) -count=1 -timeout 30m ./internal/chaos

soak: need-go ## Makes QUOTES quotes (1,000,000) with a fault now and then, and looks what grows in the agent and its TPM.
	@.ci/packages swtpm
	@$(PART) soak go test -tags chaos -count=1 -timeout 0 -v -run '^TestSoak$$' ./internal/chaos -quotes $(QUOTES)

vm-test: need-go ## Installs the agent's package in a virtual machine and tests it there, on a real kernel and its TPM device.
	@$(PART) vm-test .ci/vm-test

check: check-mod check-lint check-vulns check-licences check-proto check-api ## Runs the linters, the vulnerability check and the checks of licences, of the contract, its generated code and what others import.

check-mod: need-go
	@$(PART) mod go mod tidy -diff

check-lint: need-go
	@$(PART) lint go run $(GOLANGCI_LINT) run

check-vulns: need-go
	@$(PART) vulns .ci/vulns

check-licences: need-go
	@$(PART) licences .ci/licences $(COMMANDS)

check-proto: need-go
	@$(PART) proto .ci/proto

check-api: need-go
	@$(PART) api .ci/apidiff

generate: need-go ## Writes the generated code anew from proto/.
	go run $(BUF) generate

fuzz: need-go ## Runs every fuzz function for DURATION (60s), or those that FUZZ=REGEX matches; .ci/fuzz tells more.
	@.ci/packages swtpm
	@$(PART) fuzz .ci/fuzz $(DURATION)

mutate: need-go ## Changes one operator of PKG (verifier/eventlog) after the other, and looks whether a test notices; hours for PKG=verifier; docs/reliability.md.
	@.ci/packages swtpm
	go run $(GREMLINS) unleash --workers 1 --timeout-coefficient 100 -E '^(eventlog|client|knowngood|saved|internal|cmw)/' ./$(PKG)

bench: build ## Measures quotes, crowds, memory and the rest, and other libraries beside it; BENCH=short: only some, in a minute.
	@$(PART) bench .ci/bench $(BENCH)

bench-server: need-go ## Measures the attestation server with 200 simulated nodes, 10,000 in software, and 100,000 in its database, and writes docs/performance.md; nine minutes.
	@$(PART) bench-server .ci/bench-server

pictures: need-go ## Writes the figures of build/bench.json into docs/performance.md, and draws its pictures.
	go run ./cmd/internal/bench -pictures docs/bench -page docs/performance.md

screenshots: need-go ## Takes the pictures of docs/page.md in a real browser, of a real server.
	@.ci/packages swtpm chromium
	mkdir -p build/screenshots docs/screenshots
	go test -count=1 -run TestThePageInABrowser ./cmd/trustpool-server -args -screenshots $(CURDIR)/build/screenshots
	cp $(SCREENSHOTS:%=build/screenshots/%.png) docs/screenshots/

man: need-go ## Writes the man pages and shell completions into build/man/.
	@packaging/manuals build/man

package: need-go ## Builds the deb and rpm packages, for amd64 and arm64, into build/packages/.
	@packaging/build

release: need-go ## Builds all files of a release into build/release/: packages, tars, SBOMs, checksums, provenance; docs/releases.md.
	@packaging/release

package-test: need-go ## Builds the packages twice, checks them, and takes them through their life in a container (needs root).
	@$(PART) packages .ci/packages apparmor debian-archive-keyring lintian man-db mmdebstrap procps rpm shellcheck systemd-container
	@$(PART) package .ci/package

interop-test: need-go ## Has grpcurl and ghz ask a real agent, as docs/interop.md says; the tools are built first, in a minute.
	@.ci/packages swtpm
	@$(PART) interop go test -tags interop -count=1 -run 'ToolsOfGRPC|Reflected' ./agent

openstack-test: need-go ## Holds what the server says to OpenStack against a real Placement, Keystone and Nova; RUN=: only the tests of that name.
	@$(PART) openstack .ci/openstack-test

kubernetes-test: need-go ## Builds a kube-apiserver and kube-scheduler, a quarter of an hour the first time, and holds what the server says to Kubernetes against them; RUN=: only the tests of that name.
	@$(PART) kubernetes .ci/kubernetes-test

fleet-test: need-go ## Has reboots, other hypervisors, cut networks and killed servers happen to NODES (30) simulated nodes for DURATION (2m), and looks whether every verdict is right.
	@$(PART) fleet .ci/fleet-test

clean: ## Removes build/.
	rm -rf build

need-go:
	@.ci/need-go
