"""Deploys a template, given as a file and parameters (NAME=VALUE), in moto's AWS.

What the template needs of a VPC is made, its parameters get values. Prints the service, the task definition,
the policies of roles and the security groups that come of it.
"""
import ast
import json
import os
import re
import sys

os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION="eu-west-1")

import boto3  # noqa: E402: it reads the environment
from moto import mock_aws  # noqa: E402
from moto.cloudformation import parsing  # noqa: E402

of_moto = parsing.clean_json


def clean_json(value, resources):
    """Leaves AWS::NoValue out of lists, as AWS does."""
    cleaned = of_moto(value, resources)
    return [item for item in cleaned if item is not None] if isinstance(cleaned, list) else cleaned


parsing.clean_json = clean_json


def network():
    ec2 = boto3.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = []
    for number, zone in enumerate(("eu-west-1a", "eu-west-1b")):
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=zone)
        subnets.append(subnet["Subnet"]["SubnetId"])
    return {"Vpc": vpc, "Subnets": ",".join(subnets), "ClientCidr": "10.0.0.0/16"}


def without_load_balancer(template):
    """moto takes no listener for TCP."""
    for name in ("LoadBalancer", "Targets", "Listener", "Proxy"):
        template = re.sub(rf"\n  {name}:\n(?:(?:    .*)?\n)+?(?=  \S|\S)", "\n", template)
    template = re.sub(r"      LoadBalancers:\n(?:        .*\n)+", "", template)
    return template.replace("    DependsOn: Listener\n", "")


def statements(document):
    # moto gives back what CloudFormation gave it as Python prints it.
    document = ast.literal_eval(document) if isinstance(document, str) else document
    return document["Statement"]


def main(path, *given):
    with open(path, encoding="utf-8") as file:
        template = without_load_balancer(file.read())
    cloud, ecs = boto3.client("cloudformation"), boto3.client("ecs")
    ecs.create_cluster(clusterName="default")
    values = {**network(), "TetherdImage": "registry.example/tetherd", "AppImage": "registry.example/app"}
    values.update(parameter.split("=", 1) for parameter in given)
    asked = [key for key in values if f"\n  {key}:\n" in template]
    parameters = [{"ParameterKey": key, "ParameterValue": values[key]} for key in asked]
    cloud.create_stack(
        StackName="tetherd", TemplateBody=template, Parameters=parameters, Capabilities=["CAPABILITY_IAM"]
    )
    service = ecs.describe_services(cluster="default", services=ecs.list_services(cluster="default")["serviceArns"])
    definition = service["services"][0]["taskDefinition"]
    definition = ecs.describe_task_definition(taskDefinition=definition)["taskDefinition"]
    roles = boto3.client("iam")
    policies = {}
    for role in roles.list_roles()["Roles"]:
        name = role["RoleName"]
        for policy in roles.list_role_policies(RoleName=name)["PolicyNames"]:
            answer = roles.get_role_policy(RoleName=name, PolicyName=policy)
            policies[policy] = statements(answer["PolicyDocument"])
    groups = {}
    for group in boto3.client("ec2").describe_security_groups()["SecurityGroups"]:
        groups[group["GroupId"]] = {"description": group["Description"], "ingress": group["IpPermissions"]}
    found = {
        "service": service["services"][0],
        "taskDefinition": definition,
        "policies": policies,
        "securityGroups": groups,
    }
    print(json.dumps(found, default=str))


with mock_aws():
    main(*sys.argv[1:])
