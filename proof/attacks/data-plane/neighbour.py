"""Looks for a neighbour from inside a sandbox: prints, for each way, what was got. Run in the victim's own sandbox it finds everything, which is the control."""
import ctypes, glob, json, os, socket, sys, urllib.error, urllib.request

task = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
got = {}


def tried(what, attempt):
    try:
        got[what] = str(attempt())[:300]
    except Exception as error:
        got[what] = f"refused: {type(error).__name__} {error}"[:300]


def visit(family, address):
    with socket.socket(family) as peer:
        peer.settimeout(60)
        peer.connect(address)
        return peer.recv(100).decode()


def ask(key):
    body = json.dumps({"model": "default", "messages": [{"role": "user", "content": "hello"}]}).encode()
    request = urllib.request.Request("http://inference.local/v1/chat/completions", body, {"content-type": "application/json", "authorization": "Bearer " + key})
    try:
        return urllib.request.urlopen(request, timeout=60).status
    except urllib.error.HTTPError as error:
        return error.code


def fetch(host, method="GET", headers={}, timeout=4):
    request = urllib.request.Request(f"http://{host}/", method=method, headers=headers)
    try:
        return urllib.request.urlopen(request, timeout=timeout).status
    except urllib.error.HTTPError as error:
        return error.code


def commands():
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            found.append(open(path).read())
        except OSError:
            pass
    return task["marker"] if any(command.endswith("\0" + task["marker"] + "\0") for command in found) else "none"


def below_proc(path):
    found = [entry for entry in glob.glob(f"/proc/[0-9]*/{path}")]
    if not found:
        raise FileNotFoundError(path)
    return open(found[0]).read()


def shared_memory():
    number = libc.shmget(int.from_bytes(task["marker"][-4:].encode(), "big"), 0, 0)
    if number < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return task["marker"]


tried("tcp on loopback", lambda: visit(socket.AF_INET, ("127.0.0.1", 4000)))
tried("tcp on every address", lambda: visit(socket.AF_INET, ("127.0.0.1", 4001)))
tried("abstract socket", lambda: visit(socket.AF_UNIX, "\0" + task["marker"]))
tried("unix socket in /tmp", lambda: visit(socket.AF_UNIX, f"/tmp/{task['marker']}.sock"))
tried("unix socket in the workspace", lambda: visit(socket.AF_UNIX, f"/workspace/{task['marker']}.sock"))
tried("/dev/shm", lambda: open("/dev/shm/" + task["marker"]).read())
tried("System V shared memory", shared_memory)
tried("processes", commands)
tried("sockets in /proc/net/unix", lambda: task["marker"] if task["marker"] in open("/proc/net/unix").read() else "none")
tried("file in the workspace", lambda: open("/workspace/secret.txt").read())
tried("workspace by its path on the host", lambda: open(task["path"] + "/secret.txt").read())
tried("workspace below /proc/PID/root", lambda: below_proc("root" + task["path"] + "/secret.txt"))
tried("workspace in the list of mounts", lambda: task["marker"] if task["path"] in open("/proc/self/mountinfo").read() else "none")
tried("kill by its number on the host", lambda: os.kill(task["pid"], 9) or "sent")
tried("its key at the model", lambda: ask(task["key"]))
tried("the own key at the model", lambda: ask(os.environ["NEMOCLAW_API_KEY"]))
tried("its host", lambda: fetch("only-" + task["name"] + ".example", timeout=60))
tried("its approval", lambda: fetch("ask-" + task["self"] + ".example", "PUT", {"x-approval-id": task["approval"], "approval-id": task["approval"], "authorization": "Bearer " + task["key"]}))
tried("its approval at the model's address", lambda: fetch("inference.local/v1/approvals/" + task["approval"] + "/decision", "POST"))
tried("the gateway's socket", lambda: visit(socket.AF_UNIX, task["gateway"]))
print(json.dumps(got))
