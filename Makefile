# The commands of this project. `make demo` shows the main job, `make test` installs what the tests need and runs all
# of them; both start from nothing but Rust and Go. What they are made of stands beside each area, in the files included
# at the end.

.PHONY: help demo test test-kubelet test-architectures bench build clean

PARTS := parts/bin
# The same place for every command, whatever the user's own configuration of cargo says.
export CARGO_TARGET_DIR ?= $(CURDIR)/target
# Built inside the tree, so that nothing is installed for the whole machine.
TOOLS := $(CARGO_TARGET_DIR)/tools

# What layer and functions are built for, as Lambda names it. The tests run on one machine: they build for that alone.
OWN_ARCHITECTURE := $(shell uname -m | sed 's/aarch64/arm64/')
ifneq ($(filter test test-kubelet layer-again,$(MAKECMDGOALS)),)
ARCHITECTURES ?= $(OWN_ARCHITECTURE)
else
ARCHITECTURES ?= x86_64 arm64
endif

help:
	@echo "make demo              an embedded tailnet, and a page fetched through it by name (ONCE=1: end after that)"
	@echo "make test              everything: format, lints, licences, unit and integration tests"
	@echo "make bench             speed, memory, size and time to ready, beside what people use instead"
	@echo "make build             the release binary, target/release/tetherd"
	@echo "make layer             the layer for AWS Lambda, target/layer/tetherd-layer-*.zip"
	@echo "make image             the container image, tetherd:VERSION; needs a Docker engine"
	@echo "make functions         the webhook forwarder's functions, target/webhook/ARCH/*.zip, by sam build"
	@echo "make clean             away with all that was built, $(PARTS) too"
	@echo
	@echo "Parts of make test:"
	@echo "make lint              format, lints and licences"
	@echo "make lint-template     the templates, by the linters of AWS"
	@echo "make lint-workflows    the workflows of GitHub"
	@echo "make test-calls        the Go package inside tailscaled"
	@echo "make test-kubelet      the pods of the chart on a real kubelet"
	@echo "make test-architectures layer and functions for all architectures; not a part of make test"
	@echo "make layer-again       the layer built from another directory: the same bytes"
	@echo "make image-layer       the one layer of the image, target/docker/ARCH/rootfs.tar, without Docker"
	@echo "make webhook-template  the webhook forwarder's template as CloudFormation gets it, target/webhook/template.json"
	@echo
	@echo "What tests and benchmarks need, into $(PARTS) unless said otherwise:"
	@echo "make parts             tailscaled, tailscale and headscale"
	@echo "make lambda-parts      the small tailscaled of layer and image, and the emulator of AWS Lambda"
	@echo "make lambda-examples   runtimes for the layer's example functions, and the one in Rust (into target)"
	@echo "make chart-tools       what tests the Helm chart"
	@echo "make kubelet           a node of Kubernetes"
	@echo "make host-tools        checkers of what hosts/ has"
	@echo "make clients           the programs of docs/clients.md"
	@echo "make moto              AWS on loopback"
	@echo "make rivals            what benchmarks compare with: gost, a server into target, two packages for the whole machine"
	@echo "make system-packages   the distribution's packages: installed as root on Debian, named elsewhere"

demo: parts check-ip
	cargo build --release -p tetherd
	cargo build -p testbed --bin demo
	$(CARGO_TARGET_DIR)/debug/demo --tetherd $(CARGO_TARGET_DIR)/release/tetherd $(if $(ONCE),--once)

# Every failure at once: a run takes half an hour.
test: system-packages parts test-calls moto clients chart-tools layer layer-again lambda-examples image-layer host-tools kubelet \
		functions webhook-template lint lint-template lint-workflows
	cargo test --workspace --no-fail-fast

# Real pods on a real kubelet; a part of `make test`.
test-kubelet: system-packages parts image-layer kubelet $(PARTS)/helm
	cargo test --test kubelet

# Layer and functions for all architectures, and their tests: a quarter of an hour more than those of `make test`.
test-architectures: system-packages moto lambda-examples layer functions webhook-template
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
