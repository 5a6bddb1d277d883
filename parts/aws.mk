# AWS on this machine: the emulator of Lambda, AWS's linters and builders, and a server that answers as AWS does. Targets:
#
#   moto  AWS on loopback

# AWS's runtime interface emulator is part of the SAM command line's package.
SAM_VERSION := 1.170.0
$(PARTS)/aws-lambda-rie:
	@command -v pip3 >/dev/null || { echo "pip is missing: apt-get install python3-pip" >&2; exit 1; }
	mkdir -p $(PARTS)/wheels
	pip3 download --quiet --no-deps --only-binary=:all: --dest $(PARTS)/wheels aws-sam-cli==$(SAM_VERSION)
	cd $(PARTS) && python3 -m zipfile -e wheels/aws_sam_cli-$(SAM_VERSION)-py3-none-any.whl wheels/sam && \
		install -m 755 wheels/sam/samcli/local/rapid/aws-lambda-rie-$$(uname -m | sed s/aarch64/arm64/) aws-lambda-rie
	rm -rf $(PARTS)/wheels

# The linters of AWS for the templates, at the version that the emulator comes with, and what `sam build` builds Rust with.
CFN_LINT_VERSION := 1.58.0
CARGO_LAMBDA_VERSION := 1.9.2
AWS_TOOLS := $(TOOLS)/aws-$(SAM_VERSION)-$(CFN_LINT_VERSION)-$(CARGO_LAMBDA_VERSION)

$(AWS_TOOLS)/installed: | system-packages
	python3 -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --only-binary :all: aws-sam-cli==$(SAM_VERSION) cfn-lint==$(CFN_LINT_VERSION) \
		cargo-lambda==$(CARGO_LAMBDA_VERSION)
	@touch $@

# AWS on loopback, for the tests of keys.
MOTO := moto[server]==5.2.5
.PHONY: moto
moto: $(PARTS)/moto/bin/moto_server

$(PARTS)/moto/bin/moto_server:
	python3 -m venv $(PARTS)/moto
	$(PARTS)/moto/bin/pip install --quiet --disable-pip-version-check '$(MOTO)'
