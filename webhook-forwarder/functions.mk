# The webhook forwarder: its functions as they are deployed, and its templates as CloudFormation gets them. Targets:
#
#   functions         the functions by sam build, target/webhook/ARCH/*.zip
#   webhook-template  the templates as CloudFormation gets them, target/webhook/*.json, for its tests

WEBHOOK := $(CARGO_TARGET_DIR)/webhook
.PHONY: functions webhook-template
functions: $(AWS_TOOLS)/installed
	webhook-forwarder/build.sh $(WEBHOOK) $(CARGO_TARGET_DIR) $(AWS_TOOLS)/bin $(ARCHITECTURES)

EXPAND := $(AWS_TOOLS)/bin/python webhook-forwarder/stack/expand.py
webhook-template: $(WEBHOOK)/template.json $(WEBHOOK)/deploy-role.json $(WEBHOOK)/workflow.json
# As of one day and of the next: what differs is renewed with every deployment.
$(WEBHOOK)/template.json: webhook-forwarder/template.yaml webhook-forwarder/stack/expand.py $(AWS_TOOLS)/installed
	mkdir -p $(@D)
	$(EXPAND) $< $(@D)/template-later.json 1800086400
	$(EXPAND) $< $@ 1800000000

$(WEBHOOK)/deploy-role.json: webhook-forwarder/deploy-role.yaml webhook-forwarder/stack/expand.py $(AWS_TOOLS)/installed
	mkdir -p $(@D)
	$(EXPAND) $< $@

$(WEBHOOK)/workflow.json: .github/workflows/webhook-forwarder.yml webhook-forwarder/stack/expand.py $(AWS_TOOLS)/installed
	mkdir -p $(@D)
	$(EXPAND) $< $@
