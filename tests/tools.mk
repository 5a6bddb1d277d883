# What only the tests need: tools for the Helm chart, a node of Kubernetes, checkers of hosts/, and programs that people
# use. Targets:
#
#   chart-tools  what tests the Helm chart
#   kubelet      a node of Kubernetes
#   host-tools   checkers of what hosts/ has
#   clients      the programs of docs/clients.md

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

# Programs that people use, pinned, for tests/clients.
CLIENTS := $(PARTS)/clients
.PHONY: clients
clients: $(CLIENTS)/python/installed $(CLIENTS)/node/installed $(CLIENTS)/bin/fetch $(CLIENTS)/bin/kafka \
	$(CLIENTS)/bin/mongodb $(CLIENTS)/bin/grpcurl $(CLIENTS)/bin/reqwest

$(CLIENTS)/python/installed: parts/clients/requirements.txt | system-packages
	python3 -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --require-hashes --only-binary :all: -r $<
	@touch $@

$(CLIENTS)/node/installed: parts/clients/package.json parts/clients/package-lock.json | check-node
	@mkdir -p $(@D) && cp $^ $(@D)
	cd $(@D) && npm ci --silent --ignore-scripts
	@touch $@

$(CLIENTS)/bin/fetch: tests/clients/programs/fetch.go | check-tools
	go build -trimpath -o $@ $<

CLIENT_GO := CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags '-s -w' -o ../../bin/clients/bin/

# A broker of Kafka.
$(CLIENTS)/bin/kafka: $(wildcard parts/clients/kafka/*) | check-tools
	cd parts/clients/kafka && $(CLIENT_GO) .
	@touch $@

# A server of MongoDB's protocol. SQLite takes most of the time, and is compiled already where headscale was built.
$(CLIENTS)/bin/mongodb: $(wildcard parts/clients/mongodb/*) | check-tools
	cd parts/clients/mongodb && $(CLIENT_GO) -tags ferretdb_no_postgresql .
	@touch $@

# With a server and a client of Go's own library, which it is made with.
$(CLIENTS)/bin/grpcurl: $(wildcard parts/clients/grpc/* parts/clients/grpc/*/*) | check-tools
	cd parts/clients/grpc && $(CLIENT_GO) tool ./echo-server ./call
	@touch $@

# Without its feature `socks`, and with it. Its lock file has the versions of the workspace's: beside that it builds in half the time.
REQWEST := cargo build --quiet --locked --manifest-path parts/clients/reqwest/Cargo.toml --target-dir $(CARGO_TARGET_DIR)
$(CLIENTS)/bin/reqwest: $(wildcard parts/clients/reqwest/Cargo.* parts/clients/reqwest/src/*) | check-tools
	@mkdir -p $(@D)
	$(REQWEST) && cp $(CARGO_TARGET_DIR)/debug/fetch-by-reqwest $@
	$(REQWEST) --features socks && cp $(CARGO_TARGET_DIR)/debug/fetch-by-reqwest $@-socks
