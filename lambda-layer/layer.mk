# The layer for AWS Lambda, what it is tested with, and the example functions. Targets:
#
#   layer            the layer, target/layer/tetherd-layer-*.zip
#   layer-again      the layer built from another directory: the same bytes
#   lambda-parts     the small tailscaled of layer and image, and the emulator of AWS Lambda
#   lambda-examples  runtimes for the layer's example functions, and the one in Rust (into target)

.PHONY: lambda-parts layer layer-again lambda-examples
lambda-parts: $(ARCHITECTURES:%=$(PARTS)/lambda-%/tailscaled) $(PARTS)/aws-lambda-rie

# The layer for AWS Lambda, in $(LAYER).
LAYER := $(CARGO_TARGET_DIR)/layer
layer: lambda-parts
	lambda-layer/build.sh $(CURDIR)/$(PARTS) $(LAYER) $(CARGO_TARGET_DIR) $(ARCHITECTURES)

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
