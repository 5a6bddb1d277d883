# The webhook forwarder: its functions as they are deployed, and its template as CloudFormation gets it. Targets:
#
#   functions         the functions by sam build, target/webhook/ARCH/*.zip
#   webhook-template  the template as CloudFormation gets it, target/webhook/template.json

WEBHOOK := $(CARGO_TARGET_DIR)/webhook
.PHONY: functions webhook-template
functions: $(AWS_TOOLS)/installed
	webhook-forwarder/build.sh $(WEBHOOK) $(CARGO_TARGET_DIR) $(AWS_TOOLS)/bin $(ARCHITECTURES)

webhook-template: $(WEBHOOK)/template.json
$(WEBHOOK)/template.json: webhook-forwarder/template.yaml webhook-forwarder/stack/expand.py $(AWS_TOOLS)/installed
	mkdir -p $(@D)
	$(AWS_TOOLS)/bin/python webhook-forwarder/stack/expand.py $< $@
