# Sockway. `make help` says what there is; each target installs what it needs.

.DEFAULT_GOAL := help
.PHONY: help run test soak bench bench-peers fmt advisories clean

export PATH := $(CURDIR)/target/tools/bin:$(PATH):$(HOME)/.cargo/bin
# A Python that has `websockets`, `kosoku` and `redis`: third-party clients for the tests.
export SOCKWAY_PEER_PYTHON := $(CURDIR)/target/tools/python/bin/python3
export SOCKWAY_BINARY := $(CURDIR)/target/debug/sockway

BENCHES := --locked --manifest-path benches/Cargo.toml --target-dir target/benches

help:
	@echo 'make run          build Sockway and try it: a private Redis, a made-up token, demo endpoints'
	@echo '                  (ARGS="…" is passed to `sockway dev`)'
	@echo 'make test         format, lints, documentation, dependencies, all tests'
	@echo 'make bench        measure Sockway beside the limit and the installed peers; some ten minutes'
	@echo '                  (ARGS="--help" says what can be changed; ARGS="--write" runs the long form and writes docs/)'
	@echo 'make bench-peers  install what Sockway is compared with: Node ws + ioredis, nginx + Nchan'
	@echo 'make soak         a quarter of an hour of faults and load, checked against bounds of time and memory'
	@echo '                  (SEED=n replays, SOAK_SECONDS=n shortens or lengthens the mix)'
	@echo 'make fmt          format the code'
	@echo 'make advisories   ask the RustSec database about the dependencies (needs the network)'
	@echo 'make clean        remove everything that was built, tools included'

run:
	@scripts/prepare run
	@echo '==> building Sockway; the first time takes a minute or more'
	@cargo build --locked
	@cargo run --quiet --locked -- dev $(ARGS)

test:
	@scripts/prepare test
	@echo '==> format: cargo fmt --check'
	@cargo fmt --check
	@cargo fmt --check --manifest-path benches/Cargo.toml
	@echo '==> lints: cargo clippy'
	@cargo clippy --locked --all-targets --quiet -- -D warnings
	@cargo clippy --locked --test soak --quiet -- -D warnings
	@echo '==> documentation: cargo doc'
	@RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items --quiet
	@echo '==> licences, bans and sources of dependencies: cargo deny'
	@cargo fetch --locked --quiet
	@cargo deny --offline --log-level error check licenses bans sources
	@echo '==> tests: cargo test'
	@cargo test --locked
	@echo '==> browser client: types, then Node and Chromium against the gateway'
	@clients/js/node_modules/.bin/tsc --project clients/js
	@node --test clients/js/test/*.test.js
	@echo '==> the benchmark: its lints, its tests, and that it still measures (a few seconds; the figures mean nothing)'
	@cargo clippy $(BENCHES) --all-targets --quiet -- -D warnings
	@cargo test $(BENCHES) --quiet
	@cargo build $(BENCHES) --quiet
	@target/benches/debug/bench --sockway target/debug/sockway --no-peers --short \
	    --scenario burst,unicast --sockets 50 --pairs 1 --messages 0.01
	@echo '==> passed: format, lints, documentation, dependencies, tests, browser client, benchmark; left out: soak, bench, advisories'

# Everything the benchmark needs is built first, so that nothing is built while it measures.
bench:
	@scripts/prepare run
	@echo '==> building Sockway and the benchmark, optimised; the first time takes minutes'
	@cargo build --locked --release --quiet
	@cargo build $(BENCHES) --release --quiet
	@target/benches/release/bench $(or $(ARGS),--short)

bench-peers:
	@benches/peers/install

soak:
	@scripts/prepare test
	@cargo test --locked --release --test soak -- --test-threads=1 --nocapture

fmt:
	@cargo fmt
	@cargo fmt --manifest-path benches/Cargo.toml

advisories:
	@scripts/prepare test
	@cargo deny --log-level error check advisories

clean:
	@cargo clean
	@rm -rf clients/js/node_modules
