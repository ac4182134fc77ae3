"""Inside a sandbox: `work N`: N requests of each way one after the other, their times; `times S`: the times of all requests of S seconds; anything else is an attack or a transfer until its seconds are over. Answers with one line of JSON."""
import base64, http.client, json, os, socket, ssl, struct, sys, threading, time, zlib

HOST, PORT, SECURE = 'service.example', int(os.environ['PORT']), int(os.environ.get('SECURE', 0))
OTHER = 'other.example'
what, amount = sys.argv[1], float(sys.argv[2])
counts = {}
lock = threading.Lock()


def count(key):
    with lock:
        counts[key] = counts.get(key, 0) + 1


def post(body, headers, path='/sink'):
    link = http.client.HTTPConnection(HOST, PORT, timeout=60)
    link.request('POST', path, body, headers)
    answer = link.getresponse()
    answer.read()
    link.close()
    return answer.status


def ask(more):
    # By turns: over one kept connection, and each time from the start: the name, the connection, TLS.
    times, failed = {'kept': [], 'new': []}, []
    kept = http.client.HTTPConnection(HOST, PORT, timeout=60)
    trusted = ssl.create_default_context()
    i = 0
    while more(i):
        i += 1
        for way, taken in times.items():
            start = time.monotonic()
            link = kept if way == 'kept' else http.client.HTTPSConnection(HOST, SECURE, timeout=60, context=trusted)
            try:
                link.request('GET', '/small?%d' % i)
                answer = link.getresponse()
                if answer.read() != b'fine' or answer.status != 200:
                    failed.append([way, answer.status])
            except (http.client.HTTPException, OSError) as error:
                failed.append([way, repr(error)])
                link.close()
            taken.append((time.monotonic() - start) * 1000)
            if way == 'new':
                link.close()
            time.sleep(0.005)
    return times, failed


def work(n):
    times, failed = ask(lambda i: i < n)
    said = {'failed': failed}
    for way, taken in times.items():
        taken.sort()
        said[way] = {'n': n, 'p50': taken[n // 2], 'p99': taken[int(n * 0.99)]}
    return said


def hello():
    context = ssl.create_default_context()
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    side = context.wrap_bio(into, out, server_hostname=HOST)
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def squeeze():
    squeezed = zlib.compressobj(9, zlib.DEFLATED, 31)
    return squeezed.compress(bytes(64 << 20)) + squeezed.flush()


# Made once: the attack is to cost the other side, not this one.
first = hello() if what == 'handshakes' else squeeze() if what == 'bombs' else b''


def once(kind, kept):
    if kind == 'connections':
        kept.append(socket.create_connection((HOST, PORT), 10))
        count('made')
    elif kind == 'handshakes':
        link = socket.create_connection((HOST, PORT), 10)
        link.sendall(first)
        count('answered' if link.recv(1) else 'closed')
        link.close()
    elif kind == 'bombs':
        count(post(first, {'content-encoding': 'gzip', 'content-type': 'application/json'}))
    elif kind == 'slow':
        link = socket.create_connection((HOST, PORT), 10)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.sendall(b'GET /large HTTP/1.1\r\nHost: %s:%d\r\n\r\n' % (HOST.encode(), PORT))
        kept.append(link)
        count('begun')
        time.sleep(0.05)
    elif kind == 'names':
        question = struct.pack('>HHHHHH', os.getpid() & 65535, 256, 1, 0, 0, 0) + b'\x08' + base64.b32encode(os.urandom(5)) + b'\x07example\x00\x00\x01\x00\x01'
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asks:
            for _ in range(50):
                asks.sendto(question, ('198.18.0.1', 53))
                count('asked')
    elif kind == 'heads':
        link = socket.create_connection((HOST, PORT), 10)
        link.sendall(b'GET / HTTP/1.1\r\nHost: %s:%d\r\n' % (HOST.encode(), PORT) + b''.join(b'x-%d: %s\r\n' % (i, b'y' * 1000) for i in range(60)) + b'\r\n')
        count(link.recv(12)[9:12].decode() or 'closed')
        link.close()
    elif kind == 'bodies':
        count(post(b'"' + b'::' * 500000 + b'"', {'content-type': 'application/json'}))
    elif kind == 'removals':
        count(post(b'', {}, '/remove/' + os.urandom(8).hex()))
    elif kind == 'dribble':
        link = socket.create_connection((HOST, PORT), 10)
        for byte in b'POST /drip HTTP/1.1\r\nHost: %s:%d\r\nContent-Length: 20\r\nContent-Type: application/octet-stream\r\nConnection: close\r\n\r\n' % (HOST.encode(), PORT) + b'z' * 20:
            link.sendall(bytes([byte]))
            time.sleep(0.002)
        got = b''
        while part := link.recv(1):
            got += part
        count('whole' if got.endswith(b'drop by drop') and b' 200 ' in got else repr(got[-80:]))
    elif kind in ('none', 'head', 'body', 'late', 'half', 'garbage'):
        link = http.client.HTTPConnection(HOST, PORT, timeout=30)
        try:
            link.request('GET', '/fault/' + kind)
            answer = link.getresponse()
            try:
                answer.read()
                count('%d whole' % answer.status)
            except (http.client.HTTPException, OSError):
                count('%d cut' % answer.status)
        except (http.client.HTTPException, OSError) as error:
            count(type(error).__name__)
        link.close()
    elif kind in ('upload', 'download', 'events', 'websocket'):
        link = socket.create_connection((HOST, PORT), 10)
        host = b'Host: %s:%d\r\n' % (HOST.encode(), PORT)
        if kind == 'upload':
            link.sendall(b'POST /sink HTTP/1.1\r\n' + host + b'Content-Type: application/octet-stream\r\nContent-Length: 100000000000\r\n\r\n')
            open('/workspace/begun-' + kind, 'w').close()
            while True:
                link.sendall(b'z' * 4096)
                time.sleep(0.02)
        head = b'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n' % base64.b64encode(os.urandom(16)) if kind == 'websocket' else b''
        link.sendall(b'GET /%s HTTP/1.1\r\n' % (b'events' if kind == 'download' else kind.encode()) + host + head + b'\r\n')
        while part := link.recv(65536):
            if not os.path.exists('/workspace/begun-' + kind):
                open('/workspace/begun-' + kind, 'wb').write(part[:20])
        count('ended')
    else:
        raise SystemExit('no such thing: ' + kind)


def again(kind, until):
    kept = []
    while time.monotonic() < until:
        try:
            once(kind, kept)
        except OSError as error:
            count(type(error).__name__)
            time.sleep(0.01)


def shut():
    # The name is known before, as programs know it; then it is asked for anew too.
    address = socket.gethostbyname(HOST)
    open('/workspace/waiting', 'w').close()
    while not os.path.exists('/workspace/shut'):
        time.sleep(0.05)
    said = {}

    def attempt(way, host, name):
        link = http.client.HTTPConnection(host, PORT, timeout=5)
        try:
            link.request('GET', '/shut/' + way, headers={'Host': '%s:%d' % (name, PORT)})
            said[way] = link.getresponse().status
        except (http.client.HTTPException, OSError) as error:
            said[way] = type(error).__name__
        link.close()

    threads = [threading.Thread(target=attempt, args=one) for one in (('allowed', HOST, HOST), ('known', address, HOST), ('denied', OTHER, OTHER), ('posing', address, OTHER), ('past', '127.0.0.1', HOST))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    open('/workspace/tried', 'w').close()
    return said


def unrecorded(n):
    # What cannot be undone, then what can: that the second arrives shows that the first had its time.
    address = socket.gethostbyname(HOST)
    open('/workspace/waiting', 'w').close()
    while not os.path.exists('/workspace/shut'):
        time.sleep(0.05)
    threads = [threading.Thread(target=once, args=('removals', [])) for _ in range(n)]
    for thread in threads:
        thread.daemon = True
        thread.start()
    for i in range(20):
        link = http.client.HTTPConnection(address, PORT, timeout=60)
        link.request('GET', '/meanwhile', headers={'Host': '%s:%d' % (HOST, PORT)})
        count('meanwhile %d' % link.getresponse().status)
        link.close()
    open('/workspace/tried', 'w').close()
    for thread in threads:
        thread.join(90)
    return counts


if what == 'shut':
    print(json.dumps(shut()))
elif what == 'unrecorded':
    print(json.dumps(unrecorded(int(amount))))
elif what == 'work':
    print(json.dumps(work(int(amount))))
elif what == 'times':
    end = time.monotonic() + amount
    times, failed = ask(lambda i: time.monotonic() < end)
    print(json.dumps({**times, 'failed': failed}))
elif what == 'open':
    kept = []
    for i in range(int(amount)):
        try:
            kept.append(socket.create_connection((HOST, PORT), 20))
        except OSError as error:
            count(type(error).__name__)
    open('/workspace/opened', 'w').write(str(len(kept)))
    while not os.path.exists('/workspace/enough'):
        time.sleep(0.05)
    closed = 0
    for link in kept:
        link.setblocking(False)
        try:
            closed += link.recv(1) == b''
        except BlockingIOError:
            pass
        except OSError:
            closed += 1
    print(json.dumps({'made': len(kept), 'closed': closed, 'errors': counts}))
elif amount < 0:
    try:
        once(what, [])
    except OSError as error:
        count(type(error).__name__)
    print(json.dumps(counts))
else:
    end = time.monotonic() + amount
    threads = [threading.Thread(target=again, args=(what, end), daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(amount + 70)
    print(json.dumps(counts))
