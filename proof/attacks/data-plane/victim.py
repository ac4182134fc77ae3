"""Runs in one sandbox and offers everything that a neighbour could look for; notes whoever comes."""
import ctypes, os, socket, sys, threading, time

marker = sys.argv[1]
open("/dev/shm/" + marker, "w").write(marker)
libc = ctypes.CDLL(None, use_errno=True)
shared = libc.shmget(int.from_bytes(marker[-4:].encode(), "big"), 4096, 0o1666)


def offer(family, address):
    server = socket.socket(family)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(address)
    server.listen()

    def accept():
        while True:
            peer, _ = server.accept()
            with open("/workspace/visitors", "a") as visitors:
                visitors.write(str(address) + "\n")
            peer.sendall(marker.encode())
            peer.close()

    threading.Thread(target=accept, daemon=True).start()


offer(socket.AF_INET, ("127.0.0.1", 4000))
offer(socket.AF_INET, ("0.0.0.0", 4001))
offer(socket.AF_UNIX, "\0" + marker)
offer(socket.AF_UNIX, f"/tmp/{marker}.sock")
offer(socket.AF_UNIX, f"/workspace/{marker}.sock")
open("/workspace/ready", "w").write("shm" if shared >= 0 else "no shm")
while True:
    time.sleep(1)
