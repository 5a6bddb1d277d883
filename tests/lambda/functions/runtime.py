"""Runs AWS's own runtime client for Python, which calls the handler of _HANDLER."""
import os

from awslambdaric import __main__ as client

client.main(["", os.environ["_HANDLER"]])
