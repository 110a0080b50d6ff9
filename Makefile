# Sockway. `make help` says what there is; each target prepares by itself what it needs.

.DEFAULT_GOAL := help
.PHONY: help run test fmt advisories clean

export PATH := $(CURDIR)/target/tools/bin:$(PATH):$(HOME)/.cargo/bin
# A Python that has `websockets`: the tests speak to the gateway with a client that is not our own.
export SOCKWAY_PEER_PYTHON := $(CURDIR)/target/tools/python/bin/python3
export SOCKWAY_BINARY := $(CURDIR)/target/debug/sockway

help:
	@echo 'make run          build Sockway and try it: a private Redis, a made-up token, demo endpoints'
	@echo '                  (ARGS="…" goes on to `sockway dev`)'
	@echo 'make test         format, lints, documentation, dependencies, all tests'
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
	@echo '==> lints: cargo clippy'
	@cargo clippy --locked --all-targets --quiet -- -D warnings
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

fmt:
	@cargo fmt

advisories:
	@scripts/prepare test
	@cargo deny --log-level error check advisories

clean:
	@cargo clean
	@rm -rf clients/js/node_modules
