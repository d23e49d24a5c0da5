"""A bare Starlette page that does one GetItem: what any page of the table's contents takes at least."""

import os
import sys

import botocore.session
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

client = botocore.session.get_session().create_client("dynamodb")


def page(request: Request) -> HTMLResponse:
    key = {"pk": {"S": "pool#bench"}, "sk": {"S": "head"}}
    client.get_item(TableName=os.environ["APPROVAL_TABLE"], Key=key, ConsistentRead=True)
    return HTMLResponse("<!doctype html><title>x</title><p>x</p>")


uvicorn.run(Starlette(routes=[Route("/", page)]), host="127.0.0.1", port=int(sys.argv[1]), log_config=None, access_log=False)
