# What people use where there is no tailnet, for the benchmarks. Targets:
#
#   rivals  gost, a server into target, two packages for the whole machine

# The example server of the library.
FAST_SOCKS5_VERSION := 1.0.0
.PHONY: rivals
rivals: $(TOOLS)/bin/server $(PARTS)/gost
	@missing=; command -v microsocks >/dev/null || missing="$$missing microsocks"; \
	[ -x /usr/sbin/danted ] || missing="$$missing dante-server"; \
	$(install-missing)

$(TOOLS)/bin/server:
	cargo install --locked --root $(TOOLS) --version $(FAST_SOCKS5_VERSION) --example server fast-socks5

$(PARTS)/gost: $(wildcard parts/gost/*.go) parts/gost/go.mod parts/gost/go.sum | check-tools
	@echo "building gost (a minute, once)"
	cd parts/gost && CGO_ENABLED=0 go build -mod=readonly -trimpath -buildvcs=false -ldflags '-s -w' -o ../bin/gost .
