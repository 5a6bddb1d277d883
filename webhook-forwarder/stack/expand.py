#!/usr/bin/env python3
"""Writes a template as CloudFormation gets it, as JSON.

That is what the transform of AWS SAM makes of it, where it has one; other YAML stays as it is. Arguments: file, output, and
the time of the transform in seconds of Unix time, which is now where it is left out.
"""

import json
import os
import sys
import time

os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")

from samcli.yamlhelper import yaml_parse
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator


def main(source: str, target: str, now: str = "") -> None:
    if now:
        time.time = lambda: float(now)
    with open(source, encoding="utf-8") as file:
        template = yaml_parse(file.read())
    for name, resource in template.get("Resources", {}).items():
        if resource["Type"] == "AWS::Serverless::Function":
            # `sam deploy` uploads the code, and puts its place here.
            resource["Properties"]["CodeUri"] = f"s3://code/{name}.zip"
    if "Transform" in template:
        template = Translator({}, Parser()).translate(template, {})
    with open(target, "w", encoding="utf-8") as file:
        json.dump(template, file, indent=1)


main(*sys.argv[1:])
