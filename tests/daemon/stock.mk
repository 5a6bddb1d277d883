# The daemon's tests with a tailscaled as users may bring it, without the calls: `make test-stock`. stock.skip names those
# that cannot hold there, each with its reason. Some minutes, and not a part of `make test`, which has
# tests/daemon/stock_tailscaled.rs.

STOCK_PARTS := $(PARTS)/with-stock
STOCK_SKIP := tests/daemon/stock.skip

.PHONY: test-stock
test-stock: system-packages parts moto
	@mkdir -p $(STOCK_PARTS)
	ln -sfn $(addprefix ../,$(filter-out with-stock tailscaled,$(notdir $(wildcard $(PARTS)/*)))) $(STOCK_PARTS)/
	ln -sfn ../stock/tailscaled $(STOCK_PARTS)/tailscaled
	@echo "not with a stock tailscaled:" && cat $(STOCK_SKIP)
	TETHERD_PARTS=$(CURDIR)/$(STOCK_PARTS) cargo test --test daemon --no-fail-fast -- $$(awk '!/^#/ && NF { print "--skip", $$1 }' $(STOCK_SKIP))
