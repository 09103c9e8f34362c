# pushd: `make start` runs it, `make test` installs what the tests need and runs
# them all. Everything else is for development.

GO         ?= go
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS    := -s -w -X github.com/pushd/pushd/cmd.Version=$(VERSION)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
# cli's pages of documentation come with a parser that every process would set up.
# Tags in GOFLAGS stay: of two lists go takes the last.
tags := -tags=urfave_cli_no_docs
comma := ,
export GOFLAGS := $(if $(filter -tags=%,$(GOFLAGS)),$(patsubst -tags=%,$(tags)$(comma)%,$(GOFLAGS)),$(GOFLAGS) $(tags))
FUZZTIME   ?= 30s
BENCHTIME  ?= 200ms
PREFIX     ?= /usr/local
DIST       ?= dist
ARCHES     ?= amd64 arm64
ROUNDS     ?= 5
CONNECTIONS ?= 1000000
# Progress while it runs, the failures at the end, everything in bin/test.log. Tests
# also wait: two packages at once leave a fifth of two cores idle.
TEST       := $(GO) run ./cmd/pushdtest/report -o bin/test.log -- -p $$(($$(nproc) + 1))

.PHONY: build install start smoke test test-full deps check race fuzz bench bench-go bench-heap bench-peers bench-pinned bench-million bench-reload bench-returns bench-sse bench-tls bench-php bench-carry bench-cluster lint dist clean

build: pushd ## bin/pushd, its second name bin/pushctl, and bin/pushbench
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/pushbench ./cmd/pushbench

.PHONY: pushd
pushd: ## bin/pushd and bin/pushctl alone
	@test -e bin/pushd || echo "building pushd for the first time: its modules are fetched and compiled, which takes a minute or more"
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/pushd ./cmd/pushd
	ln -sf pushd bin/pushctl # shells have a builtin named pushd

install: pushd ## pushd and pushctl into PREFIX/bin
	install -D -m 755 bin/pushd $(DESTDIR)$(PREFIX)/bin/pushd
	ln -sf pushd $(DESTDIR)$(PREFIX)/bin/pushctl

bin/peers: FORCE ## the servers that pushd is compared with; a module of their own
	cd cmd/pushbench/peers && CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o ../../../bin/peers .

# Servers of others, for compare, at exact versions. nchan is Debian's:
# apt-get install nginx libnginx-mod-nchan
bin/centrifugo: cmd/pushbench/peers/centrifugo ## Centrifugo from the Go module proxy: five minutes on two cores
	GOBIN=$(CURDIR)/bin CGO_ENABLED=0 $(GO) install -trimpath -ldflags '-s -w' $$(cat $<)

bin/soketi: cmd/pushbench/peers/soketi/package.json cmd/pushbench/peers/soketi/package-lock.json ## Soketi from npm: 290 MB
	mkdir -p bin/soketi && cp cmd/pushbench/peers/soketi/package*.json bin/soketi
	cd bin/soketi && npm ci --ignore-scripts --omit=optional --no-audit --no-fund --loglevel=error
	touch bin/soketi

FORCE:

start: pushd ## run pushd in the foreground: open http://127.0.0.1:2346/
	./bin/pushd start

test: deps build lint check ## everything a change must pass

# -count=1: most tests drive the built programs, whose changes the test cache does not see.
check: build ## the tests alone
	$(TEST) -count=1 -timeout 45m ./...
	cd cmd/pushbench/peers && $(GO) vet ./... && $(GO) test -count=1 ./...
	cd deploy/kubernetes/testdata && $(GO) vet ./... && $(GO) test -count=1 ./...

smoke: build ## a minute for the curious: protocols, timers, config, a reload under live clients
	$(TEST) -count=1 -timeout 10m ./protocol/... ./timer ./worker/hub ./cmd/config ./worker/handler/chat
	$(TEST) -count=1 -timeout 10m -run 'TestHints|TestShellInit|TestReloadUnderLoad|TestEveryMessageOnceInOrder' ./cmd/pushd

test-full: deps build lint bin/centrifugo bin/soketi ## test, with the long matrices and at full size: an hour
	@sh .ci/deps-full
	PUSHD_TEST_FULL=1 $(TEST) -count=1 -timeout 90m ./...
	$(TEST) -count=1 -race -timeout 90m ./...
	PUSHD_REACTOR=gnet $(TEST) -count=1 -timeout 30m ./worker ./worker/reactor

deps: ## what the tests drive: a browser, node, php
	@sh .ci/deps

race: deps ## the tests under the race detector, child processes included
	$(TEST) -count=1 -race -timeout 90m ./...

fuzz: ## every fuzz target for FUZZTIME
	@sh .ci/fuzz $(FUZZTIME)

bench: build bench-go ## pushd alone, and the packages' benchmarks: under five minutes
	./bin/pushbench compare --only pushd --rounds 1

bench-go: ## the packages' benchmarks; no test depends on them
	$(GO) test -run '^$$' -bench . -skip '^BenchmarkReload$$' -benchmem -benchtime $(BENCHTIME) ./...

bench-heap: ## live heap of an idle connection by allocation site
	$(GO) test ./worker -count=1 -run TestIdleHeap -v -args -heap

bench-peers: build bin/peers ## pushd and its peers in turn, ROUNDS times; six minutes a round, ten with bin/centrifugo, bin/soketi and nchan
	./bin/pushbench compare --rounds $(ROUNDS) -o docs/bench/peers --into README.md,docs/performance.md

bench-pinned: build bin/peers ## the same with cores of their own for servers and client, printed only
	./bin/pushbench compare --rounds $(ROUNDS) --pinned

bench-reload: build ## the promises of a reload, full size, with their reach: about three minutes, six at most
	timeout 360 ./bin/pushbench reloads

bench-returns: build ## what clients that were away get, and how soon, with the reach: five minutes
	./bin/pushbench returns

bench-sse: build ## streams and long polls beside WebSockets, with the reach: six minutes
	./bin/pushbench sse

bench-tls: build bin/peers ## clients behind TLS beside those in the clear, and net/http, with the reach: seven minutes
	./bin/pushbench tls

bench-php: build ## PHP programs on pushd beside Workerman, whose vendor/autoload.php is WORKERMAN, with the reach: fifteen minutes
	./bin/pushbench php --workerman "$(WORKERMAN)"

bench-carry: ## what a reload of PHP takes to write and to take over 8,000 clients, by what programs keep of them, and whether it grows faster than they do: three to six minutes
	$(GO) test ./worker/handler/script/php -count=1 -timeout 30m -run '^$$' -bench '^BenchmarkReload$$' -benchtime 2x

bench-cluster: ## three nodes on a NATS cluster, at full size: calls, cuts, deaths, reloads
	PUSHD_TEST_FULL=1 $(GO) test -count=1 -timeout 90m -v ./cmd/pushdtest/cluster

bench-million: build ## CONNECTIONS idle ones on this machine, a broadcast to all, a reload
	./bin/pushbench million -n $(CONNECTIONS) -o docs/bench/million.json

lint: ## formatting, vet, staticcheck
	@test -z "$$(gofmt -l .)" || { echo "not formatted:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	GOOS=darwin $(GO) build ./cmd/pushd ./worker/... ./examples/... # for editors: start is Linux only
	$(GO) run $(STATICCHECK) ./...

dist: ## static Linux binaries for ARCHES, and archives of pushd with its second name
	for arch in $(ARCHES); do for cmd in pushd pushbench; do \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(DIST)/$$cmd-linux-$$arch ./cmd/$$cmd || exit 1; \
	done; sh .ci/archive $(DIST)/pushd-linux-$$arch || exit 1; done
	cd $(DIST) && sha256sum pushd-* pushbench-* > SHA256SUMS

clean:
	rm -rf bin dist
