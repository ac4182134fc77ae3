"""A small agent: one model call through inference.local; it does the tool calls that it is given, and says what it did as one line of JSON."""
import json, os, sys, urllib.error, urllib.request

port = sys.argv[1]
task = sys.argv[2]
tools = [{"type": "function", "function": {"name": "email_send", "description": "Send an e-mail", "parameters": {"type": "object", "properties": {n: {"type": "string"} for n in ("to", "subject", "body")}}}}]
body = {"model": "default", "stream": True, "messages": [{"role": "user", "content": task}], "tools": tools}
request = urllib.request.Request("http://inference.local/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json", "authorization": "Bearer " + os.environ["NEMOCLAW_API_KEY"]})
text, calls = "", {}
with urllib.request.urlopen(request, timeout=300) as answer:
    for line in answer:
        if not line.startswith(b"data: {"):
            continue
        for choice in json.loads(line[6:]).get("choices", []):
            delta = choice["delta"]
            text += delta.get("content") or ""
            for part in delta.get("tool_calls", []):
                call = calls.setdefault(part["index"], {"name": "", "arguments": ""})
                call["name"] += part["function"].get("name") or ""
                call["arguments"] += part["function"].get("arguments") or ""
done = []
for call in calls.values():
    if call["name"] != "email_send":
        done.append([call["name"], call["arguments"]])
        continue
    post = urllib.request.Request(f"https://mail.desk.example:{port}/v1/send", call["arguments"].encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(post, timeout=60) as answer:
            done.append(["email_send", answer.status])
    except urllib.error.HTTPError as error:
        done.append(["email_send", error.code])
print(json.dumps({"text": text, "done": done}))
