/** What a program inside a sandbox tries: one Python function for each row, told the port of an allowed and of a denied canary and an address of the machine. */

export interface Try {
  readonly tag: string;
  readonly name: string;
  /** Python; `say(socket)` sends the tag and reads an answer. */
  readonly code: string;
}

const tcp = (host: string, port = 'D'): string => `say(socket.create_connection((${host}, ${port}), 4))`;
const http = (bytes: string, patience = 4): string => `talk(socket.create_connection(('allowed.example', A), ${patience}), ${bytes}, ${patience})`;
const door = (bytes: string): string => `talk(socket.create_connection(('proxy.local', 3128), 4), ${bytes})`;
const option = (level: string, name: string, value: string): string => `s=socket.socket(); s.settimeout(4); s.setsockopt(${level}, ${name}, ${value}); s.connect((H, D)); say(s)`;

export const tries: readonly Try[] = [
  { tag: 'own', name: 'an address of this machine', code: tcp('H') },
  { tag: 'loop', name: 'loopback', code: tcp("'127.0.0.1'") },
  { tag: 'loop2', name: 'another loopback', code: tcp("'127.0.0.2'") },
  { tag: 'zero', name: 'the address of all zeroes', code: tcp("'0.0.0.0'") },
  { tag: 'loop6', name: 'loopback of IPv6', code: tcp("'::1'") },
  { tag: 'mapped', name: 'loopback, mapped', code: tcp("'::ffff:127.0.0.1'") },
  { tag: 'mappedown', name: 'an address of this machine, mapped', code: tcp("'::ffff:' + H") },
  { tag: 'nat64', name: 'loopback through NAT64', code: tcp("'64:ff9b::7f00:1'") },
  { tag: 'nat64own', name: 'our own range of IPv6 with an address never given out', code: tcp("'64:ff9b:1::7f00:1'") },
  { tag: 'synthetic', name: 'a synthetic address that was never given out', code: tcp("'198.18.99.99'") },
  { tag: 'decimal', name: 'an address as a number', code: tcp("str(int.from_bytes(socket.inet_aton(H), 'big'))") },
  { tag: 'hex', name: 'an address in hexadecimal', code: tcp("hex(int.from_bytes(socket.inet_aton(H), 'big'))") },
  { tag: 'metadata', name: 'metadata of clouds', code: tcp("'169.254.169.254'", '80') },
  { tag: 'private', name: 'a private address', code: tcp("'10.0.0.1'", '80') },
  { tag: 'otherport', name: 'the allowed name on another port', code: tcp("'allowed.example'") },
  { tag: 'inward', name: 'an allowed name that nobody resolves', code: tcp("'inward.example'") },
  { tag: 'name', name: 'a denied name', code: tcp("'denied.example'") },
  { tag: 'udp', name: 'a datagram to this machine', code: "s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(T, (H, D)); print('sent')" },
  { tag: 'udp6', name: 'a datagram, mapped', code: "s=socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.sendto(T, ('::ffff:' + H, D)); print('sent')" },
  { tag: 'quic', name: 'a datagram to the allowed name', code: "s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(T, (socket.gethostbyname('allowed.example'), D))" },
  { tag: 'udplite', name: 'UDP-Lite', code: 's=socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 136); s.sendto(T, (H, D))' },
  { tag: 'broadcast', name: 'a broadcast', code: "s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1); s.sendto(T, ('255.255.255.255', D))" },
  { tag: 'multicast', name: 'a multicast', code: "s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(T, ('224.0.0.251', D))" },
  { tag: 'mptcp', name: 'multipath TCP', code: 's=socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262); s.settimeout(4); s.connect((H, D)); say(s)' },
  { tag: 'sctp', name: 'SCTP', code: 's=socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132); s.settimeout(4); s.connect((H, D)); say(s)' },
  { tag: 'fastopen', name: 'data in the first packet', code: 's=socket.socket(); s.settimeout(4); s.sendto(T, socket.MSG_FASTOPEN, (H, D)); print(s.recv(9))' },
  { tag: 'raw', name: 'a raw socket', code: 's=socket.socket(socket.AF_INET, socket.SOCK_RAW, 253); s.sendto(T, (H, 0))' },
  { tag: 'packet', name: 'a packet socket', code: "s=socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('lo', 0)); s.send(T)" },
  { tag: 'mark', name: 'a mark that might pass the capture', code: option('socket.SOL_SOCKET', 'socket.SO_MARK', '1') },
  { tag: 'device', name: 'a device of its own choice', code: option('socket.SOL_SOCKET', '25', "b'eth0\\0'") },
  { tag: 'transparent', name: 'a foreign source address', code: option('socket.IPPROTO_IP', '19', '1') },
  { tag: 'sourceroute', name: 'a route of its own choice', code: option('socket.IPPROTO_IP', 'socket.IP_OPTIONS', "bytes([0x89, 7, 4]) + socket.inet_aton(H) + b'\\0'") },
  { tag: 'dontroute', name: 'past the routes', code: option('socket.SOL_SOCKET', '5', '1') },
  { tag: 'vsock', name: 'a socket to the host of a virtual machine', code: 's=socket.socket(40, socket.SOCK_STREAM); s.settimeout(4); s.connect((2, D)); say(s)' },
  { tag: 'txt', name: 'data in a question to another resolver', code: "s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(4); s.sendto(b'\\0\\7\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\x07' + T[:7] + b'\\x07example\\0\\0\\x10\\0\\1', (H, 53)); d=s.recv(512); print('code', d[3] & 15, 'records', d[7])" },
  { tag: 'smuggled', name: 'a request inside another', code: http("b'POST /ok HTTP/1.1\\r\\nHost: allowed.example\\r\\nContent-Length: 4\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\nGET /' + T + b' HTTP/1.1\\r\\nHost: denied.example\\r\\n\\r\\n'") },
  { tag: 'host', name: 'another Host', code: http("b'GET /' + T + b' HTTP/1.1\\r\\nHost: denied.example\\r\\n\\r\\n'") },
  { tag: 'absolute', name: 'a full URL of another place', code: http("b'GET http://127.0.0.1:%d/%s HTTP/1.1\\r\\nHost: allowed.example\\r\\n\\r\\n' % (D, T)") },
  { tag: 'path', name: 'a denied path, encoded', code: http("b'GET /%%61dmin?%s HTTP/1.1\\r\\nHost: allowed.example\\r\\n\\r\\n' % T") },
  { tag: 'connect', name: 'CONNECT to this machine', code: door("b'CONNECT %s:%d HTTP/1.1\\r\\nHost: %s:%d\\r\\n\\r\\n%s' % (H.encode(), D, H.encode(), D, T)") },
  { tag: 'connectloop', name: 'CONNECT to loopback', code: door("b'CONNECT 127.0.0.1:%d HTTP/1.1\\r\\nHost: 127.0.0.1:%d\\r\\n\\r\\n%s' % (D, D, T)") },
  { tag: 'proxied', name: 'a full URL of this machine at the door', code: door("b'GET http://%s:%d/%s HTTP/1.1\\r\\nHost: %s:%d\\r\\n\\r\\n' % (H.encode(), D, T, H.encode(), D)") },
  { tag: 'socks', name: 'SOCKS5 to loopback', code: door("b'\\5\\1\\0\\5\\1\\0\\1\\x7f\\0\\0\\1' + D.to_bytes(2, 'big') + T") },
];

/** Runs all at once; prints `tag TAB what came of it`. Arguments: allowed port, denied port, address of the machine. */
export const program = `import socket, sys, threading
A, D, H = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
lock = threading.Lock()
def attempt(tag, body):
    T = ('tag-%s' % tag).encode() + b' '
    T = T.strip()
    out = []
    def say(s):
        s.settimeout(4); s.sendall(T + b'\\n'); s.shutdown(socket.SHUT_WR); out.append(repr(s.recv(100)))
    def talk(s, data, patience=4):
        s.settimeout(patience); s.sendall(data); out.append(repr(s.recv(4000)))
    try:
        exec(body, {'socket': socket, 'A': A, 'D': D, 'H': H, 'T': T, 'say': say, 'talk': talk, 'print': lambda *a: out.append(' '.join(map(str, a)))})
    except BaseException as error:
        out.append(repr(error))
    with lock:
        sys.stdout.write(tag + '\\t' + '; '.join(out).replace('\\n', ' ')[:300] + '\\n'); sys.stdout.flush()
tries = [
${[{ tag: 'control', code: http("b'GET /control HTTP/1.1\\r\\nHost: allowed.example\\r\\nConnection: close\\r\\n\\r\\n'", 60) }, ...tries].map(({ tag, code }) => `    (${JSON.stringify(tag)}, ${JSON.stringify(code)}),`).join('\n')}
]
threads = [threading.Thread(target=attempt, args=one, daemon=True) for one in tries]
for t in threads: t.start()
for t in threads: t.join(60)
`;
