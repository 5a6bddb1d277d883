"""Registers a task definition, given as a file, with moto's ECS by the AWS SDK.

First the SDK checks it against the model of the API. Prints what comes back.
"""
import json
import os
import sys

os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION="eu-west-1")

import boto3  # noqa: E402: it reads the environment
from moto import mock_aws  # noqa: E402

with open(sys.argv[1], encoding="utf-8") as file, mock_aws():
    answer = boto3.client("ecs").register_task_definition(**json.load(file))
    print(json.dumps(answer["taskDefinition"], default=str))
