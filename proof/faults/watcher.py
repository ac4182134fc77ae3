# The agent of the fault tests: tries what is forbidden and what is allowed, again and again, and keeps score in a file whose blocks it already has.
import ctypes, json, os, socket, sys, time

libc = ctypes.CDLL(None, use_errno=True)
score = os.open('/workspace/score', os.O_RDWR | os.O_CREAT, 0o644)
os.pwrite(score, b' ' * 4096, 0)
room = open('/workspace/room', 'r+b', buffering=0)


def call(number, *args):
    if libc.syscall(number, *args) < 0:
        raise OSError(ctypes.get_errno(), 'refused')


def connect(address):
    # A proxy takes the connection; an answer would be the breach.
    with socket.socket() as one:
        one.settimeout(0.02)
        one.connect(address)
        one.send(b'GET / HTTP/1.0\r\n\r\n')
        if one.recv(1) == b'':
            raise OSError('closed')


def signal_outside():
    # Every process that is not of the sandbox: there is none to be found.
    os.kill(int(sys.argv[1]), 0)


forbidden = {
    'read a denied file': lambda: open('/workspace/keys/secret').read(),
    'write a read-only file': lambda: open('/workspace/fixed/a', 'w'),
    'write to the host': lambda: open('/usr/bin/planted', 'w'),
    'read the host': lambda: open('/etc/shadow').read(),
    'see the host': lambda: os.stat('/root'),
    'talk to the network': lambda: connect(('192.0.2.1', 80)),
    'a raw socket': lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    'a packet socket': lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    'signal outside': signal_outside,
    'mount': lambda: call(165, b'none', b'/tmp', b'tmpfs', 0, None),
    'a user namespace': lambda: call(272, 0x10000000),
    'bpf': lambda: call(321, 0, None, 0),
    'trace init': lambda: call(101, 16, 1, 0, 0),
}
rounds, worked, failed, opened = 0, 0, 0, []
while True:
    for name, attempt in forbidden.items():
        try:
            attempt()
            opened.append(name)
        except (OSError, MemoryError):
            pass
    try:
        room.seek(0)
        room.write(b'%d' % rounds)
        worked += 1
    except OSError:
        failed += 1
    rounds += 1
    os.pwrite(score, json.dumps({'rounds': rounds, 'worked': worked, 'failed': failed, 'opened': sorted(set(opened))}).encode().ljust(4096), 0)
    time.sleep(0.01)
