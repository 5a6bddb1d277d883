# The commands of this project. `make demo` shows the main job, `make test` installs what the tests need and runs all
# of them; both start from nothing but Rust and Go. What they are made of stands beside each area, in the files included
# at the end. Targets that `make help` does not list:
#
#   test-kubelet        the pods of the chart on a real kubelet; a part of `make test`
#   test-architectures  layer and functions for all architectures, and the layer twice; not a part of `make test`
#   test-programs       layer, image and functions, as the tests need them

.PHONY: help demo test test-kubelet test-architectures test-programs bench build clean

PARTS := parts/bin
# The same place for every command, whatever the user's own configuration of cargo says.
export CARGO_TARGET_DIR ?= $(CURDIR)/target
# Built inside the tree, so that nothing is installed for the whole machine.
TOOLS := $(CARGO_TARGET_DIR)/tools

# What layer and functions are built for, as Lambda names it. The tests run on one machine: they build for that alone.
OWN_ARCHITECTURE := $(shell uname -m | sed 's/aarch64/arm64/')
ifneq ($(filter test test-kubelet test-programs layer-again,$(MAKECMDGOALS)),)
ARCHITECTURES ?= $(OWN_ARCHITECTURE)
else
ARCHITECTURES ?= x86_64 arm64
endif

help:
	@echo "make demo              an embedded tailnet, and a page fetched through it by name (ONCE=1: end after that)"
	@echo "make test              everything: format, lints, licences, unit and integration tests"
	@echo "make lint              format, lints and licences; a part of make test"
	@echo "make bench             speed, memory, size and time to ready, beside what people use instead"
	@echo "make build             the release binary, target/release/tetherd"
	@echo "make parts             what tests run with, into $(PARTS): tailscaled, tailscale and headscale"
	@echo "make layer             the layer for AWS Lambda, target/layer/tetherd-layer-*.zip"
	@echo "make image             the container image, tetherd:VERSION; needs a Docker engine"
	@echo "make functions         the webhook forwarder's functions, target/webhook/ARCH/*.zip, by sam build"
	@echo "make clean             away with all that was built, $(PARTS) too"
	@echo
	@echo "Other targets stand at the top of the file of their area:"
	@echo "Makefile                        test-kubelet, test-architectures"
	@echo "tests/lint.mk                   the parts of lint, templates and workflows"
	@echo "tests/tools.mk                  what only tests need: the chart, a kubelet, hosts, client programs"
	@echo "parts/{parts,aws,rivals}.mk     tailscaled and its tests, AWS on loopback, what benchmarks compare with"
	@echo "parts/prerequisites.mk          checks of what must be installed, and the distribution's packages"
	@echo "lambda-layer/layer.mk, docker/image.mk, webhook-forwarder/functions.mk"

demo: parts check-ip
	cargo build --release -p tetherd
	cargo build -p testbed --bin demo
	$(CARGO_TARGET_DIR)/debug/demo --tetherd $(CARGO_TARGET_DIR)/release/tetherd $(if $(ONCE),--once)

# Every failure at once: a run takes half an hour.
test: system-packages parts test-calls moto clients chart-tools lambda-examples host-tools kubelet webhook-template \
		lint lint-template lint-workflows
	$(MAKE) --jobs=2 test-programs
	# Tests wait more than they compute: for timers, and for other programs.
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$((2 * $$(nproc)))} cargo test --workspace --no-fail-fast

# At the same time, since the linker and the packer keep one processor busy.
test-programs: layer image-layer functions

# Real pods on a real kubelet; a part of `make test`.
test-kubelet: system-packages parts image-layer kubelet $(PARTS)/helm
	cargo test --test kubelet

# Layer and functions for all architectures, and their tests, and the layer built a second time: a quarter of an hour more
# than those of `make test`.
test-architectures: system-packages moto lambda-examples layer layer-again functions webhook-template
	cargo test --test lambda layer
	cargo test --package webhook-stack zips

bench: parts moto layer image-layer functions rivals check-ip
	cargo bench --bench start
	cargo bench --bench lambda
	# What is measured is built; the rest is as for the tests.
	cargo bench --workspace --profile dev --bench functions
	cargo bench --bench figures

build: check-tools
	cargo build --release -p tetherd

clean:
	cargo clean
	rm -rf $(PARTS)

# Before what names their files.
include parts/parts.mk
include parts/aws.mk
include parts/rivals.mk
include parts/prerequisites.mk

include lambda-layer/layer.mk
include docker/image.mk
include webhook-forwarder/functions.mk
include tests/tools.mk
include tests/daemon/stock.mk
include tests/lint.mk
