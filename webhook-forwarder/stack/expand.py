#!/usr/bin/env python3
"""Expands the template by the transform of AWS SAM, as CloudFormation does.

The output is JSON. Arguments: template, output.
"""

import json
import os
import sys

os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")

from samcli.yamlhelper import yaml_parse
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator


def main(source: str, target: str) -> None:
    with open(source, encoding="utf-8") as file:
        template = yaml_parse(file.read())
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            # `sam deploy` uploads the code, and puts its place here.
            resource["Properties"]["CodeUri"] = f"s3://code/{name}.zip"
    expanded = Translator({}, Parser()).translate(template, {})
    with open(target, "w", encoding="utf-8") as file:
        json.dump(expanded, file, indent=1)


main(*sys.argv[1:])
