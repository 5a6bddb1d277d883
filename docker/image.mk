# The container image, from one layer that is packed without Docker: $(IMAGE)/ARCH/rootfs.tar. Targets:
#
#   image        the image tetherd:VERSION; needs a Docker engine
#   image-layer  its one layer, target/docker/ARCH/rootfs.tar, without Docker

IMAGE := $(CARGO_TARGET_DIR)/docker
IMAGE_ARCH := $(shell uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
VERSION := $(shell awk -F '"' '$$1 == "version = " { print $$2; exit }' Cargo.toml)

.PHONY: image image-layer
image-layer: $(PARTS)/image-$(IMAGE_ARCH)/tailscaled
	docker/build.sh $(IMAGE_ARCH) $(PARTS) $(IMAGE) $(CARGO_TARGET_DIR)

image: image-layer
	@docker version >/dev/null 2>&1 || { echo "no Docker engine answers; the image's layer is $(IMAGE)/$(IMAGE_ARCH)/rootfs.tar" >&2; exit 1; }
	docker build --file docker/Dockerfile.local --build-arg VERSION=$(VERSION) --tag tetherd --tag tetherd:$(VERSION) $(IMAGE)/$(IMAGE_ARCH)
