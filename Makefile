# The commands of this project. `make demo` shows the main job, `make test` installs what the tests need and runs all
# of them; both start from nothing but Rust and Go.

.PHONY: demo test test-kubelet bench build parts clients lambda-parts layer layer-again lambda-examples image image-layer functions webhook-template lint check-tools clean help

DENY_VERSION := 0.20.2
PARTS := parts/bin
# The same place for every command, whatever the user's own configuration of cargo says.
export CARGO_TARGET_DIR ?= $(CURDIR)/target
# Built inside the tree, so that nothing is installed for the whole machine.
TOOLS := $(CARGO_TARGET_DIR)/tools
TAILSCALE_VERSION := $(shell awk '$$1 == "tailscale.com" { sub(/^v/, "", $$2); print $$2 }' parts/tailscaled/go.mod)
# Built from a module, tailscaled knows no version control to name its version by.
TAILSCALE_STAMP := -X tailscale.com/version.shortStamp=$(TAILSCALE_VERSION) -X tailscale.com/version.longStamp=$(TAILSCALE_VERSION)
CARGO_DENY := $(TOOLS)/bin/cargo-deny

help:
	@echo "make demo          an embedded tailnet, and a page fetched through it by name (ONCE=1: end after that)"
	@echo "make test          everything: format, lints, licences, unit and integration tests"
	@echo "make bench         speed, memory, size and time to ready, beside what people use instead"
	@echo "make build         the release binary, target/release/tetherd"
	@echo "make test-kubelet  the pods of the chart on a real kubelet; a part of make test"
	@echo "make clients       the programs of docs/clients.md for the tests, into $(PARTS)/clients"
	@echo "make chart-tools   what tests the Helm chart, into $(PARTS)"
	@echo "make layer         the layer for AWS Lambda, target/layer/tetherd-layer-*.zip"
	@echo "make functions     the webhook forwarder's functions, target/webhook/ARCH/*.zip, by sam build"
	@echo "make image         the container image, tetherd:VERSION; needs a Docker engine"
	@echo "make parts         tailscaled, tailscale and headscale, into $(PARTS)"

build: check-tools
	cargo build --release -p tetherd

# --- Real parts, from pinned Go modules -------------------------------------------------------------------------

parts: $(PARTS)/tailscaled $(PARTS)/headscale

# Grouped targets would need GNU Make 4.3 on every machine; `tailscale` comes with tailscaled.
$(PARTS)/tailscaled: parts/tailscaled/go.mod parts/tailscaled/go.sum | check-tools
	@echo "building tailscaled (some minutes, once)"
	cd parts/tailscaled && go build -mod=readonly -trimpath -ldflags '-s -w $(TAILSCALE_STAMP)' -o ../bin/ tool
	@touch $@

$(PARTS)/headscale: parts/headscale/go.mod parts/headscale/go.sum | check-tools
	@echo "building headscale (some minutes, once)"
	cd parts/headscale && go build -mod=readonly -trimpath -ldflags '-s -w' -o ../bin/ tool
	@touch $@

# Stamped as its own makefile does, or it takes itself for one of Kubernetes 1.20.
HELM_VERSION := $(shell awk '$$1 == "helm.sh/helm/v3" { print $$2 }' parts/helm/go.mod)
HELM_KUBERNETES := $(shell awk -F . '/k8s.io\/client-go v0/ { print $$3 }' parts/helm/go.mod)
HELM_STAMP := -X helm.sh/helm/v3/internal/version.version=$(HELM_VERSION) \
	-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=$(HELM_KUBERNETES)
# What tests the chart: helm, the API server's own code, schemas of all versions of Kubernetes, models of custom resources.
KUBERNETES_VALIDATE := kubernetes-validate==1.37.0
.PHONY: chart-tools
chart-tools: $(PARTS)/helm $(PARTS)/admission $(PARTS)/chart/python/installed $(PARTS)/chart/node/installed

$(PARTS)/admission: $(wildcard parts/admission/*.go) parts/admission/go.mod parts/admission/go.sum | check-tools
	cd parts/admission && go build -mod=readonly -trimpath -ldflags '-s -w' -o ../bin/ .
	@touch $@

$(PARTS)/chart/python/installed: | system-packages
	@mkdir -p $(PARTS)/chart
	python3 -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check '$(KUBERNETES_VALIDATE)'
	@touch $@

$(PARTS)/chart/node/installed: parts/chart/package.json parts/chart/package-lock.json | check-node
	@mkdir -p $(@D) && cp $^ $(@D)
	cd $(@D) && npm ci --silent --ignore-scripts
	@touch $@

$(PARTS)/helm: parts/helm/go.mod parts/helm/go.sum | check-tools
	@echo "building helm (some minutes, once)"
	cd parts/helm && go build -mod=readonly -trimpath -ldflags '-s -w $(HELM_STAMP)' -o ../bin/ tool
	@touch $@

# A node of Kubernetes, for tests/kubelet. Its version is what `kubelet --version` and the API say.
KUBERNETES_VERSION := $(shell awk '$$1 == "k8s.io/kubernetes" { print $$2 }' parts/kubelet/go.mod)
.PHONY: kubelet
kubelet: $(PARTS)/kubelet

$(PARTS)/kubelet: parts/kubelet/go.mod parts/kubelet/go.sum | check-tools
	@echo "building the kubelet (some minutes, once)"
	cd parts/kubelet && go build -mod=readonly -trimpath \
		-ldflags '-s -w -X k8s.io/component-base/version.gitVersion=$(KUBERNETES_VERSION)' -o ../bin/ tool
	@touch $@

# Checkers of what hosts/ has: podman's generator of units, of HCL, of workflows for GitHub.
HOST_TOOLS := quadlet hclfmt
.PHONY: host-tools
host-tools: $(HOST_TOOLS:%=$(PARTS)/%) $(PARTS)/actionlint

$(HOST_TOOLS:%=$(PARTS)/%): $(PARTS)/%: parts/%/go.mod parts/%/go.sum | check-tools
	cd parts/$* && go build -mod=readonly -trimpath -ldflags '-s -w' -o ../bin/ tool
	@touch $@

# --- Programs that people use, pinned, for tests/clients --------------------------------------------------------

CLIENTS := $(PARTS)/clients

clients: $(CLIENTS)/python/installed $(CLIENTS)/node/installed $(CLIENTS)/fetch

$(CLIENTS)/python/installed: parts/clients/requirements.txt | system-packages
	python3 -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --require-hashes --only-binary :all: -r $<
	@touch $@

$(CLIENTS)/node/installed: parts/clients/package.json parts/clients/package-lock.json | check-node
	@mkdir -p $(@D) && cp $^ $(@D)
	cd $(@D) && npm ci --silent --ignore-scripts
	@touch $@

$(CLIENTS)/fetch: tests/clients/programs/fetch.go | check-tools
	go build -trimpath -o $@ $<

# For the Lambda layer: without the parts that an extension never uses, 19 MB instead of 30 and less memory.
# `unixsocketidentity` lets the LocalAPI be written to, `ipnbus` lets it be watched, `debug` re-establishes the path.
SMALL_FEATURES := parts/tailscaled/small.features
lambda-parts: $(PARTS)/lambda-x86_64/tailscaled $(PARTS)/lambda-arm64/tailscaled $(PARTS)/aws-lambda-rie

$(PARTS)/lambda-x86_64/tailscaled: GOARCH := amd64
$(PARTS)/lambda-arm64/tailscaled: GOARCH := arm64
$(PARTS)/lambda-%/tailscaled: parts/tailscaled/go.mod parts/tailscaled/go.sum $(SMALL_FEATURES) | check-tools
	@echo "building the small tailscaled for $* (some minutes, once)"
	cd parts/tailscaled && tags=$$(go run tailscale.com/cmd/featuretags --min --add=$$(cat ../../$(SMALL_FEATURES))) && \
	CGO_ENABLED=0 GOOS=linux GOARCH=$(GOARCH) go build -mod=readonly -trimpath -buildvcs=false -tags "$$tags" \
		-ldflags '-s -w -buildid= $(TAILSCALE_STAMP)' -o $(CURDIR)/$@ tailscale.com/cmd/tailscaled
	@touch $@

# AWS's runtime interface emulator is part of the SAM command line's package.
SAM_VERSION := 1.170.0
$(PARTS)/aws-lambda-rie:
	@command -v pip3 >/dev/null || { echo "pip is missing: apt-get install python3-pip" >&2; exit 1; }
	mkdir -p $(PARTS)/wheels
	pip3 download --quiet --no-deps --only-binary=:all: --dest $(PARTS)/wheels aws-sam-cli==$(SAM_VERSION)
	cd $(PARTS) && python3 -m zipfile -e wheels/aws_sam_cli-$(SAM_VERSION)-py3-none-any.whl wheels/sam && \
		install -m 755 wheels/sam/samcli/local/rapid/aws-lambda-rie-$$(uname -m | sed s/aarch64/arm64/) aws-lambda-rie
	rm -rf $(PARTS)/wheels

# The layer for AWS Lambda, in $(LAYER).
LAYER := $(CARGO_TARGET_DIR)/layer
layer: lambda-parts
	lambda-layer/build.sh $(CURDIR)/$(PARTS) $(LAYER) $(CARGO_TARGET_DIR)

# The same programs built once more from another directory are the same, byte for byte.
layer-again: layer
	lambda-layer/compare.sh $(LAYER) $(CARGO_TARGET_DIR)

# What runs the example functions of the layer in the tests: AWS's runtime client for Python, Node.js at the first version
# of Lambda's runtime that heeds the proxy variables, and the function in Rust.
LAMBDA_RUNTIMES := $(PARTS)/lambda-runtimes
PYTHON_RUNTIME := awslambdaric==4.2.2 simplejson==4.3.0 snapshot-restore-py==1.0.0
NODE_RUNTIME := node-linux-$(shell uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')@22.21.1
lambda-examples: $(LAMBDA_RUNTIMES)/python/installed $(LAMBDA_RUNTIMES)/node/bin/node
	cargo build --locked --manifest-path lambda-layer/examples/rust/Cargo.toml --target-dir $(CARGO_TARGET_DIR)/example-function

$(LAMBDA_RUNTIMES)/python/installed: | system-packages
	python3 -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --only-binary :all: --no-deps $(PYTHON_RUNTIME)
	@touch $@

# A package that is nothing but the program.
$(LAMBDA_RUNTIMES)/node/bin/node: | check-node
	@mkdir -p $(LAMBDA_RUNTIMES)/node/bin
	cd $(LAMBDA_RUNTIMES)/node && tar -xzf "$$(npm pack --silent $(NODE_RUNTIME))" --strip-components=1
	@touch $@

TEMPLATES := lambda-layer/template.yaml webhook-forwarder/template.yaml
ECS_TEMPLATES := ecs/template.yaml ecs/gateway.yaml
WEBHOOK_TEMPLATES := webhook-forwarder/demo-target.yaml webhook-forwarder/deploy-role.yaml
# The linters of AWS for the templates, at the version that the emulator comes with, and what `sam build` builds Rust with.
CFN_LINT_VERSION := 1.58.0
CARGO_LAMBDA_VERSION := 1.9.2
AWS_TOOLS := $(TOOLS)/aws-$(SAM_VERSION)-$(CFN_LINT_VERSION)-$(CARGO_LAMBDA_VERSION)
.PHONY: lint-template
lint-template: $(AWS_TOOLS)/installed
	$(AWS_TOOLS)/bin/cfn-lint $(TEMPLATES) $(ECS_TEMPLATES) $(WEBHOOK_TEMPLATES)
	for template in $(TEMPLATES); do \
		SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=eu-central-1 $(AWS_TOOLS)/bin/sam validate --lint --template $$template || exit 1; \
	done

$(AWS_TOOLS)/installed: | system-packages
	python3 -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --only-binary :all: aws-sam-cli==$(SAM_VERSION) cfn-lint==$(CFN_LINT_VERSION) \
		cargo-lambda==$(CARGO_LAMBDA_VERSION)
	@touch $@

# The webhook forwarder: its functions as they are deployed, and its template as CloudFormation gets it.
WEBHOOK := $(CARGO_TARGET_DIR)/webhook
functions: $(AWS_TOOLS)/installed
	webhook-forwarder/build.sh $(WEBHOOK) $(CARGO_TARGET_DIR) $(AWS_TOOLS)/bin

webhook-template: $(WEBHOOK)/template.json
$(WEBHOOK)/template.json: webhook-forwarder/template.yaml webhook-forwarder/stack/expand.py $(AWS_TOOLS)/installed
	mkdir -p $(@D)
	$(AWS_TOOLS)/bin/python webhook-forwarder/stack/expand.py $< $@

# The workflows of GitHub.
.PHONY: lint-workflows
lint-workflows: $(PARTS)/actionlint
	$(PARTS)/actionlint

$(PARTS)/actionlint: parts/actionlint/go.mod parts/actionlint/go.sum | check-tools
	cd parts/actionlint && go build -mod=readonly -trimpath -o ../bin/ tool
	@touch $@

# AWS on loopback, for the tests of keys.
MOTO := moto[server]==5.2.5
.PHONY: moto
moto: $(PARTS)/moto/bin/moto_server

$(PARTS)/moto/bin/moto_server:
	python3 -m venv $(PARTS)/moto
	$(PARTS)/moto/bin/pip install --quiet --disable-pip-version-check '$(MOTO)'

# The container image, from one layer that is packed without Docker: $(IMAGE)/ARCH/rootfs.tar.
IMAGE := $(CARGO_TARGET_DIR)/docker
IMAGE_ARCH := $(shell uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
VERSION := $(shell awk -F '"' '$$1 == "version = " { print $$2; exit }' Cargo.toml)

image-layer: $(PARTS)/lambda-$(IMAGE_ARCH:amd64=x86_64)/tailscaled
	docker/build.sh $(IMAGE_ARCH) $(PARTS) $(IMAGE) $(CARGO_TARGET_DIR)

image: image-layer
	@docker version >/dev/null 2>&1 || { echo "no Docker engine answers; the image's layer is $(IMAGE)/$(IMAGE_ARCH)/rootfs.tar" >&2; exit 1; }
	docker build --file docker/Dockerfile.local --build-arg VERSION=$(VERSION) --tag tetherd --tag tetherd:$(VERSION) $(IMAGE)/$(IMAGE_ARCH)

# --- The two commands for everybody -----------------------------------------------------------------------------

demo: parts check-ip
	cargo build --release -p tetherd
	cargo build -p testbed --bin demo
	$(CARGO_TARGET_DIR)/debug/demo --tetherd $(CARGO_TARGET_DIR)/release/tetherd $(if $(ONCE),--once)

test: system-packages parts moto clients chart-tools layer layer-again lambda-examples image-layer host-tools kubelet \
		functions webhook-template lint lint-template lint-workflows
	cargo test --workspace

# Real pods on a real kubelet; a part of `make test`.
test-kubelet: system-packages parts image-layer kubelet $(PARTS)/helm
	cargo test --test kubelet

lint: $(CARGO_DENY)
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO_DENY) check licenses bans sources

bench: parts moto layer image-layer functions rivals check-ip
	cargo bench --bench start
	cargo bench --bench lambda
	# What is measured is built; the rest is as for the tests.
	cargo bench --workspace --profile dev --bench functions
	cargo bench --bench figures

# --- What people use where there is no tailnet, for the benchmarks ----------------------------------------------

.PHONY: rivals
# The example server of the library.
FAST_SOCKS5_VERSION := 1.0.0
rivals: $(TOOLS)/bin/server
	@missing=; command -v microsocks >/dev/null || missing="$$missing microsocks"; \
	[ -x /usr/sbin/danted ] || missing="$$missing dante-server"; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	else \
		echo "missing packages:$$missing; install them, for example: apt-get install$$missing" >&2; exit 1; \
	fi

$(TOOLS)/bin/server:
	cargo install --locked --root $(TOOLS) --version $(FAST_SOCKS5_VERSION) --example server fast-socks5

$(CARGO_DENY):
	cargo install --locked --root $(TOOLS) --version $(DENY_VERSION) cargo-deny

clean:
	cargo clean
	rm -rf $(PARTS)

# --- What must be there -----------------------------------------------------------------------------------------

.PHONY: check-ip check-node system-packages

check-tools:
	@command -v cargo >/dev/null || { echo "Rust is missing: install it from https://rustup.rs" >&2; exit 1; }
	@command -v go >/dev/null || { echo "Go 1.26.6 or newer is missing: install it from https://go.dev/dl" >&2; exit 1; }

check-ip:
	@command -v ip >/dev/null || { echo "ip is missing: apt-get install iproute2" >&2; exit 1; }
	@command -v unshare >/dev/null || { echo "unshare is missing: apt-get install util-linux" >&2; exit 1; }

# Debian 12's own is too old for undici.
check-node:
	@{ node -e 'const [a, b, c] = process.versions.node.split("."); process.exit((a - 20 || b - 18 || c - 1) < 0 ? 1 : 0)' \
		&& command -v npm; } >/dev/null 2>&1 \
		|| { echo "Node.js 20.18.1 or newer with npm is missing: install it from https://nodejs.org" >&2; exit 1; }

# Debian and its kin: installed when missing. Elsewhere, or without root, it says what is missing.
system-packages:
	@missing=; command -v ip >/dev/null || missing="$$missing iproute2"; \
	command -v unshare >/dev/null || missing="$$missing util-linux"; \
	command -v nsenter >/dev/null || missing="$$missing util-linux"; \
	command -v nft >/dev/null || [ -x /usr/sbin/nft ] || missing="$$missing nftables"; \
	command -v curl >/dev/null || missing="$$missing curl"; \
	command -v python3 >/dev/null || missing="$$missing python3"; \
	python3 -c 'import venv, ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	command -v javac >/dev/null || missing="$$missing default-jdk-headless"; \
	command -v ssh >/dev/null || missing="$$missing openssh-client"; \
	[ -x /usr/sbin/sshd ] || missing="$$missing openssh-server"; \
	nc -h 2>&1 | grep -q OpenBSD || missing="$$missing netcat-openbsd"; \
	command -v dig >/dev/null || missing="$$missing bind9-dnsutils"; \
	[ -x /usr/sbin/dnsmasq ] || missing="$$missing dnsmasq-base"; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql"; \
	command -v pip3 >/dev/null || missing="$$missing python3-pip"; \
	[ -x /usr/sbin/dockerd ] || missing="$$missing docker.io"; \
	[ -x /usr/bin/containerd ] || missing="$$missing containerd"; \
	command -v runc >/dev/null || [ -x /usr/sbin/runc ] || missing="$$missing runc"; \
	command -v systemd-analyze >/dev/null || missing="$$missing systemd"; \
	command -v podman >/dev/null || missing="$$missing podman"; \
	command -v catatonit >/dev/null || missing="$$missing catatonit"; \
	[ -x /usr/sbin/haproxy ] || missing="$$missing haproxy"; \
	command -v docker-compose >/dev/null || missing="$$missing docker-compose"; \
	command -v busybox >/dev/null || missing="$$missing busybox-static"; \
	command -v valgrind >/dev/null || missing="$$missing valgrind"; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	else \
		echo "missing packages:$$missing; install them, for example: apt-get install$$missing" >&2; exit 1; \
	fi
