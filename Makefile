# The project's commands; `make help` lists them.
.PHONY: help demo image image-test test bench soak lint generate check-generated deny book
TESTBED := tests/testbed/testbed
CHART := charts/oauthclient-operator

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

demo: ## the main job on a real cluster and a real authorization server; KEEP=1 leaves it up
	tests/demo

image: ## the container image, in target/image: one static binary and certificates; ARCHITECTURE=arm64 for another
	image/build

image-test: image ## what is in the image, and that it runs the operator; not part of make test, since it compiles for minutes
	cargo test --features faults --test image -- --ignored --nocapture

test: ## everything: lints, generated files, unit, API and end-to-end tests, the demo
	$(TESTBED) check keycloak prometheus
	$(MAKE) lint check-generated
	$(TESTBED) build
	cargo test --features faults
	$(MAKE) demo

soak: ## in full: 200 clients killed, 50 troubles of replicas, 300 in a storm, 1,000 deleted at once, 1,000 judged anew; 5,000 cases never tried before
	PROPERTY_CASES=50000 cargo test --features faults --test property -- --ignored --nocapture
	KILL_CLIENTS=200 cargo test --features faults --test kill -- --nocapture
	HA_ROUNDS=50 cargo test --features faults --test ha -- --nocapture
	STORM_CLIENTS=300 cargo test --features faults --test storm -- --nocapture
	MANY_CLIENTS=1000 cargo test --features faults --test keycloak -- --nocapture
	GOVERNED_CLIENTS=1000 GOVERNANCE_ONLY=stampede cargo test --features faults --test governance -- --nocapture

bench: ## what trouble elsewhere costs, as ratios
	cargo test --features faults --test bench -- --ignored --nocapture

lint: ## formatting and clippy
	cargo fmt --check
	cargo clippy --all-targets --features faults -- -D warnings

deny: target/tools/bin/cargo-deny ## licences, bans and sources of all dependencies, by cargo-deny
	$< --all-features --locked check licenses bans sources

target/tools/bin/cargo-deny:
	cargo install --quiet --locked --root target/tools --version 0.20.2 cargo-deny

book: target/tools/bin/mdbook ## docs/ as a book, in target/book/docs, by mdBook
	$< build
	cp -R examples charts deploy crds target/book

target/tools/bin/mdbook:
	cargo install --quiet --locked --root target/tools --version 0.5.4 --no-default-features --features search mdbook

generate: ## writes crds/ from the Rust types, for the chart too, and deploy/ from the chart
	cargo run --quiet --bin crdgen crds $(CHART)/files/crds
	charts/render

check-generated: generate ## fails when a generated file is not the committed one
	git diff --exit-code -- crds deploy $(CHART)/files/crds
