"""A client of the Model Context Protocol over HTTP: initializes, lists tools, calls one that is allowed and two that are not."""
import itertools
import sys

import requests

numbers = itertools.count(1)


def send(method, params=None, notify=False):
    message = {"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": params}), **({} if notify else {"id": next(numbers)})}
    answer = requests.post(sys.argv[1], json=message, headers={"accept": "application/json, text/event-stream"}, timeout=20)
    return None if notify else answer.json()


print(send("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "proof", "version": "1"}})["result"]["serverInfo"]["name"])
send("notifications/initialized", notify=True)
print(len(send("tools/list")["result"]["tools"]), "tools")
for call in ({"name": "search", "arguments": {"query": "open tickets"}}, {"name": "delete_all", "arguments": {}}, {"name": "search", "arguments": {"query": "secret plans"}}):
    print(send("tools/call", call))
