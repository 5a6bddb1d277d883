"""Fetches a page from a host of the tailnet, by name.

urllib, requests and boto3 all heed the proxy variables.
"""
import os
import urllib.request


def handler(event, context):
    with urllib.request.urlopen(os.environ["TARGET_URL"], timeout=20) as answer:
        return {"status": answer.status, "body": answer.read(1024).decode(errors="replace")}
