# Formats, lints, licences; templates by AWS's own linters, workflows by a linter of GitHub's. Targets:
#
#   lint              formats, lints and licences; lint-go and those below it to lint-first-lines are parts of it
#   lint-go           format and vet of what is Go
#   lint-imports      no circle of files in any crate, and in src no import that runs up (tests/lint/imports.py)
#   lint-dependencies each dependency is used (tests/lint/dependencies.py)
#   lint-first-lines  each Rust file says its job in its first line (tests/lint/first_lines.py)
#   lint-template     the templates, by the linters of AWS
#   lint-workflows    the workflows of GitHub

DENY_VERSION := 0.20.2
CARGO_DENY := $(TOOLS)/bin/cargo-deny
.PHONY: lint lint-go
lint: $(CARGO_DENY) lint-go lint-imports lint-dependencies lint-first-lines
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO_DENY) check licenses bans sources

# Only what is ours: git does not know vendor. A new file counts before it is added.
lint-go: $(TAILSCALE_VENDOR)
	@unformatted=$$(git ls-files --cached --others --exclude-standard '*.go' | xargs gofmt -l) && \
	if [ -n "$$unformatted" ]; then echo "not as gofmt writes it: $$unformatted"; exit 1; fi
	cd parts/tailscaled && $(TAILSCALE_GO) vet $(TAILSCALE_FLAGS) ./calls ./control

# Half the time to build without optimisation, and a second more to run.
$(CARGO_DENY):
	cargo install --debug --locked --root $(TOOLS) --version $(DENY_VERSION) cargo-deny

TEMPLATES := lambda-layer/template.yaml webhook-forwarder/template.yaml
ECS_TEMPLATES := ecs/template.yaml ecs/gateway.yaml
WEBHOOK_TEMPLATES := webhook-forwarder/demo-target.yaml webhook-forwarder/deploy-role.yaml
.PHONY: lint-template
lint-template: $(AWS_TOOLS)/installed
	$(AWS_TOOLS)/bin/cfn-lint $(TEMPLATES) $(ECS_TEMPLATES) $(WEBHOOK_TEMPLATES)
	for template in $(TEMPLATES); do \
		SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=eu-central-1 $(AWS_TOOLS)/bin/sam validate --lint --template $$template || exit 1; \
	done

# The workflows of GitHub.
.PHONY: lint-workflows
lint-workflows: $(PARTS)/actionlint
	$(PARTS)/actionlint

$(PARTS)/actionlint: parts/actionlint/go.mod parts/actionlint/go.sum | check-tools
	cd parts/actionlint && go build -mod=readonly -trimpath -o ../bin/ tool
	@touch $@

# All crates of the workspace.
CRATES := . tests/testbed $(patsubst %/Cargo.toml,%,$(wildcard webhook-forwarder/*/Cargo.toml))
.PHONY: lint-imports
lint-imports: test-lints
	python3 -B tests/lint/imports.py $(CRATES)

# Our own, since cargo-machete takes two minutes to build: `make test` has sixty.
.PHONY: lint-dependencies
lint-dependencies: test-lints
	python3 -B tests/lint/dependencies.py $(CRATES) lambda-layer/examples/rust parts/clients/reqwest

# A new file counts before it is added, one that is deleted no more.
.PHONY: lint-first-lines
lint-first-lines: test-lints
	python3 -B tests/lint/first_lines.py $$(ls $$(git ls-files --cached --others --exclude-standard '*.rs') 2>/dev/null)

# The tests of these lints.
.PHONY: test-lints
test-lints:
	cd tests/lint && python3 -B -m unittest --quiet
