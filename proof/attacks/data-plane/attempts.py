"""What one unprivileged process can try against the others: run by the hostile worker as its child. Reads a task from standard input, prints what it got."""
import ctypes, errno, json, os, signal, socket, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
PIDFD_OPEN, PIDFD_GETFD, PTRACE_SEIZE, PTRACE_DETACH, PTRACE_INTERRUPT = 434, 438, 0x4206, 17, 0x4207
got = []


# An attempt that fails with anything else was none.
REFUSALS = (errno.EPERM, errno.EACCES, errno.ECONNRESET, errno.EPIPE, errno.ECONNREFUSED, errno.EAFNOSUPPORT)


def tried(what, target, attempt):
    """`attempt` returns what it got; only the kernel's word that it may not is a refusal."""
    try:
        got.append({"what": what, "target": target, "got": True, "refused": False, "detail": str(attempt())[:200]})
    except Exception as error:
        got.append({"what": what, "target": target, "got": False, "refused": getattr(error, "errno", None) in REFUSALS, "detail": f"{type(error).__name__}: {error}"[:200]})


def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


STATUS = b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
DECISION = b'POST /v1/approvals/x/decision HTTP/1.1\r\nHost: x\r\nContent-Length: 21\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{"verdict":"approve"}'


def ask(path, request):
    """Any answer but that of a peer who turns us away by our uid is something that we got."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(60)
        peer.connect(path)
        peer.sendall(request)
        answer = peer.recv(4096).decode(errors="replace")
        if not answer or "NEMO_E_PEER" in answer or '"identity"' in answer:
            raise PermissionError(errno.EPERM, answer[:100])
        return answer


def trace(pid):
    if libc.ptrace(PTRACE_SEIZE, pid, None, None) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    libc.ptrace(PTRACE_INTERRUPT, pid, None, None)
    os.waitpid(pid, 0x40000000)
    libc.ptrace(PTRACE_DETACH, pid, None, None)
    return "attached"


def mapped(pid):
    with open(f"/proc/{pid}/maps") as maps:
        return int(maps.readline().split("-")[0], 16)


def memory(pid):
    place = mapped(pid)
    with open(f"/proc/{pid}/mem", "rb") as image:
        image.seek(place)
        return image.read(16).hex()


def memory_by_call(pid):
    room = ctypes.create_string_buffer(16)
    try:
        place = mapped(pid)
    except PermissionError:
        place = 0x400000
    local, remote = struct.pack("QQ", ctypes.addressof(room), 16), struct.pack("QQ", place, 16)
    return call(310, pid, local, ctypes.c_ulong(1), remote, ctypes.c_ulong(1), ctypes.c_ulong(0))


def read(path):
    with open(path, "rb") as file:
        return file.read(64).hex()


def write(path):
    return os.open(path, os.O_WRONLY | os.O_APPEND)


def take_descriptors(pid):
    pidfd = call(PIDFD_OPEN, pid, 0)
    for number in range(0, 64):
        try:
            return f"descriptor {number} as {call(PIDFD_GETFD, pidfd, number, 0)}"
        except OSError as error:
            last = error
    raise last


def become(uid):
    os.setresuid(uid, uid, uid)
    return os.getresuid()


def trace_a_child():
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, struct.pack("i", 0 if libc.ptrace(0, 0, None, None) == 0 else ctypes.get_errno()))
        os._exit(0)
    os.waitpid(child, 0)
    number = struct.unpack("i", os.read(reader, 4))[0]
    if number:
        raise OSError(number, os.strerror(number))
    return "traced"


# What the kernel gives to any program, and no service needs.
CALLS = {
    "ptrace of a child": trace_a_child,
    "process_vm_readv of itself": lambda: memory_by_call(os.getpid()),
    "kcmp of itself": lambda: call(312, os.getpid(), os.getpid(), 2, 0, 0),
    "pidfd_getfd of itself": lambda: take_descriptors(os.getpid()),
    "userfaultfd": lambda: call(323, 1),
    "add_key": lambda: call(248, b"user", b"made-by-worker", b"x", ctypes.c_ulong(1), -2),
    "name_to_handle_at": lambda: call(303, -100, b"/etc", struct.pack("Ii", 128, 0) + bytes(128), bytes(4), 0),
    "personality": lambda: call(135, ctypes.c_ulong(0xFFFFFFFF)),
    "a socket of another family": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "a user namespace": lambda: call(272, 0x10000000),
}

task = json.load(sys.stdin)
if task.get("calls"):
    for what, attempt in CALLS.items():
        tried(f"call: {what}", "itself", attempt)
if "sockets" in task:
    for path in task["sockets"]:
        tried("connect", path, lambda: ask(path, STATUS))
    tried("approve over the API", "gateway.sock", lambda: ask(task["gateway"], DECISION))
for process in task.get("processes", []):
    pid, name = process["pid"], process["name"]
    for what, attempt in {
        "ptrace": lambda: trace(pid), "memory": lambda: memory(pid), "process_vm_readv": lambda: memory_by_call(pid), "environment": lambda: read(f"/proc/{pid}/environ"),
        "descriptors": lambda: os.readlink(f"/proc/{pid}/fd/0"), "pidfd_getfd": lambda: take_descriptors(pid), "root folder": lambda: os.listdir(f"/proc/{pid}/root/"),
        "current folder": lambda: os.readlink(f"/proc/{pid}/cwd"), "limits": lambda: call(302, pid, 7, struct.pack("QQ", 0, 0), None),
    }.items():
        tried(what, name, attempt)
for process in task.get("signals", []):
    for number in (signal.SIGSTOP, signal.SIGKILL):
        tried(number.name, process["name"], lambda: os.kill(process["pid"], number) or "sent")
    tried("SIGKILL by pidfd", process["name"], lambda: call(424, call(PIDFD_OPEN, process["pid"], 0), 9, None, 0))
for path in task.get("read", []):
    tried("read", path, lambda: os.listdir(path) if os.path.isdir(path) and not os.path.islink(path) else read(path))
for path in task.get("write", []):
    tried("write", path, lambda: write(path))
for path in task.get("make", []):
    tried("make a file in", path, lambda: os.open(path + "/made-by-worker", os.O_CREAT | os.O_WRONLY, 0o600))
for uid in task.get("become", []):
    tried("become uid", str(uid), lambda: become(uid))
if task.get("groups"):
    tried("join the operators", str(task["groups"]), lambda: os.setgroups([task["groups"]]))
json.dump(got, sys.stdout)
