# The real parts: tailscaled, tailscale and headscale from pinned Go modules, and the small tailscaled that the layer and
# the image carry. Included by the Makefile; everything is called from the top of the tree. Targets:
#
#   parts       tailscaled, tailscaled without the calls, tailscale, headscale, and a control server with Tailnet Lock
#   test-calls  tests of the Go package inside tailscaled

.PHONY: parts test-calls
parts: $(PARTS)/tailscaled $(PARTS)/stock/tailscaled $(PARTS)/headscale $(PARTS)/control

TAILSCALE_VERSION := $(shell awk '$$1 == "tailscale.com" { sub(/^v/, "", $$2); print $$2 }' parts/tailscaled/go.mod)
# Built from a module, tailscaled knows no version control to name its version by.
TAILSCALE_STAMP := -X tailscale.com/version.shortStamp=$(TAILSCALE_VERSION) -X tailscale.com/version.longStamp=$(TAILSCALE_VERSION)

# tailscaled gets the calls of parts/tailscaled/calls by a file beside its own. Files of the module cache cannot be
# overlaid, vendored ones can.
TAILSCALE_VENDOR := parts/tailscaled/vendor/modules.txt
$(TAILSCALE_VENDOR): parts/tailscaled/go.mod parts/tailscaled/go.sum parts/tailscaled/tools.go $(wildcard parts/tailscaled/control/*.go) | check-tools
	cd parts/tailscaled && go mod vendor
	@touch $@

TAILSCALED_CALLS := $(filter-out %_test.go,$(wildcard parts/tailscaled/calls/*.go)) parts/tailscaled/overlay.json \
	parts/tailscaled/overlay/tetherd.go
WITH_CALLS := -overlay overlay.json

# A container takes no files from peers; with Taildrop they write into its temporary directory, shields up or not.
TAILSCALED_WITHOUT := -tags ts_omit_taildrop

# One set of flags for all that is built and tested of tailscaled: the compiled packages of one serve the others.
TAILSCALE_GO := CGO_ENABLED=0 go
TAILSCALE_FLAGS := -mod=vendor -trimpath

# Grouped targets would need GNU Make 4.3 on every machine; `tailscale` comes with tailscaled.
$(PARTS)/tailscaled: $(TAILSCALE_VENDOR) $(TAILSCALED_CALLS)
	@echo "building tailscaled (some minutes, once)"
	cd parts/tailscaled && $(TAILSCALE_GO) build $(TAILSCALE_FLAGS) $(WITH_CALLS) $(TAILSCALED_WITHOUT) -ldflags '-s -w $(TAILSCALE_STAMP)' -o ../bin/ tool
	@touch $@

# As a user may bring it: without the calls. Taildrop is left out, so that what was compiled for the one above serves: 3 minutes less.
$(PARTS)/stock/tailscaled: $(TAILSCALE_VENDOR) | $(PARTS)/tailscaled
	cd parts/tailscaled && $(TAILSCALE_GO) build $(TAILSCALE_FLAGS) $(TAILSCALED_WITHOUT) -ldflags '-s -w $(TAILSCALE_STAMP)' -o ../bin/stock/ tailscale.com/cmd/tailscaled
	@touch $@

# The control server of tailscale's own tests, for what Headscale does not have.
$(PARTS)/control: $(TAILSCALE_VENDOR) $(wildcard parts/tailscaled/control/*.go) | $(PARTS)/tailscaled
	cd parts/tailscaled && $(TAILSCALE_GO) build $(TAILSCALE_FLAGS) -ldflags '-s -w' -o ../bin/control ./control
	@touch $@

test-calls: $(TAILSCALE_VENDOR)
	cd parts/tailscaled && $(TAILSCALE_GO) test $(TAILSCALE_FLAGS) ./calls

$(PARTS)/headscale: parts/headscale/go.mod parts/headscale/go.sum | check-tools
	@echo "building headscale (some minutes, once)"
	cd parts/headscale && CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags '-s -w' -o ../bin/ tool
	@touch $@

# For image and layer: without the parts that a container never uses, 19 MB instead of 30 and less memory.
# `unixsocketidentity` lets the LocalAPI be written to, `ipnbus` lets it be watched, `debug` re-establishes the path.
SMALL_FEATURES := parts/tailscaled/small.features
# Nobody can connect to a function: in the layer it serves nothing, needs no certificates for that, and leads nobody anywhere. 0.5 MB
# less. Tailnet Lock is 0.3 MB, which leaves no room for flow logs.
NOT_IN_LAMBDA := serve acme advertiseroutes advertiseexitnode peerapiserver logtail netlog
$(PARTS)/image-%/tailscaled $(PARTS)/lambda-%/tailscaled: FEATURES = $$(tr , '\n' <../../$(SMALL_FEATURES) | grep -vxF $(LEFT_OUT:%=-e %) -e none | paste -sd ,)
$(PARTS)/lambda-%/tailscaled: LEFT_OUT := $(NOT_IN_LAMBDA)

$(PARTS)/lambda-x86_64/tailscaled $(PARTS)/image-amd64/tailscaled: GOARCH := amd64
$(PARTS)/lambda-arm64/tailscaled $(PARTS)/image-arm64/tailscaled: GOARCH := arm64
SMALL_TAILSCALEDS := $(foreach arch,x86_64 arm64,$(PARTS)/lambda-$(arch)/tailscaled) $(foreach arch,amd64 arm64,$(PARTS)/image-$(arch)/tailscaled)
$(SMALL_TAILSCALEDS): $(TAILSCALE_VENDOR) $(TAILSCALED_CALLS) $(SMALL_FEATURES) parts/parts.mk
	@echo "building the small tailscaled of $(notdir $(@D)) (some minutes, once)"
	cd parts/tailscaled && tags=$$($(TAILSCALE_GO) run $(TAILSCALE_FLAGS) tailscale.com/cmd/featuretags --min --add=$(FEATURES)) && \
	GOOS=linux GOARCH=$(GOARCH) $(TAILSCALE_GO) build $(TAILSCALE_FLAGS) $(WITH_CALLS) -buildvcs=false -tags "$$tags" \
		-ldflags '-s -w -buildid= $(TAILSCALE_STAMP)' -o $(CURDIR)/$@ tailscale.com/cmd/tailscaled
	@touch $@
