/** Each client at its work, inside. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { Checks } from '../harness/checks.ts';
import type { Instance } from '../harness/instance.ts';
import { hosts } from './policy.ts';
import type { WebServer } from './web-server.ts';

export interface Use {
  readonly check: Checks;
  readonly clients: ReadonlySet<string>;
  readonly instance: Instance;
  readonly web: WebServer;
  readonly workspace: string;
  /** What the server of the web has. */
  readonly folder: string;
  readonly postgres: number | undefined;
  readonly redis: number | undefined;
}

const pushed = (folder: string): string => spawnSync('/usr/bin/git', ['-C', join(folder, 'repo.git'), 'show', 'pushed:README'], { encoding: 'utf8' }).stdout;

export async function useClients(use: Use): Promise<void> {
  const { check, clients, folder, instance, web, workspace } = use;
  const origin = `https://${hosts.web}:${web.port}`;
  const inside = async (script: string, seconds = 120): Promise<string> => {
    const { out, err } = await instance.cli(['clients', 'exec', '--', '/bin/sh', '-c', script], { timeoutMs: seconds * 1000 });
    return out + err;
  };
  /** `says`: what the client prints of the page; `refused`: what it prints of the denial. */
  const client = async (name: string, script: string, says: readonly RegExp[], seconds = 120): Promise<void> => {
    if (!clients.has(name.split(' ')[0] ?? '')) return;
    const text = await inside(script, seconds);
    for (const pattern of says) check.that(`${name}: ${pattern.source.replaceAll('\\', '')}`, pattern.test(text), text);
  };
  const denial = /egress\.deny\[0\]/;

  check.section('clients of the web');
  await client('curl over HTTP/1.1', `curl -sS --http1.1 ${origin}/hello; echo; curl -sS --http1.1 ${origin}/denied/x`, [/hello over/, denial]);
  await client('curl over HTTP/2', `curl -sS --http2 -w ' v%{http_version}' ${origin}/hello; echo; curl -sS --http2 ${origin}/denied/x`, [/hello over .* v2/, denial]);
  await client('curl through the proxy', `curl -sS -x http://proxy.local:3128 ${origin}/hello; echo; curl -sS -x http://proxy.local:3128 ${origin}/denied/x; curl -sSi -x http://proxy.local:3128 https://elsewhere.example/`, [/hello over/, denial, /x-nemoclaw-rule: egress\.deny\[1\]/i]);
  await client('curl through SOCKS5', `curl -sS --socks5-hostname proxy.local:3128 ${origin}/hello; echo; curl -sS --socks5-hostname proxy.local:3128 ${origin}/denied/x`, [/hello over/, denial]);
  const commit = 'git -c user.name=a -c user.email=a@example.org commit -q -am two';
  await client('git', `cd /workspace && git clone -q ${origin}/git/repo.git cloned && cd cloned && cat README && echo 'a pushed line' >> README && ${commit} && git push -q origin HEAD:pushed && echo it is pushed; GIT_CURL_VERBOSE=1 git clone ${origin}/denied/repo.git other 2>&1`, [/a cloned file/, /it is pushed/, /x-nemoclaw-rule: egress\.deny\[0\]/i]);
  check.that('git: what was pushed is at the other side, by the smart protocol', !clients.has('git') || (web.heard.includes('POST /git/repo.git/git-receive-pack') && pushed(folder).includes('a pushed line')), web.heard.filter((line) => line.includes('/git/')));
  await client('npm', `mkdir -p /workspace/npm && cd /workspace/npm && npm install --no-audit --no-fund --loglevel=error --registry=${origin}/npm/ small && node -p 'require("small")'; npm view --registry=${origin}/denied/ small`, [/an installed package/, /403/], 120);
  await client('pip', `cd /workspace && /usr/bin/python3 -m pip install -q --no-cache-dir --disable-pip-version-check --index-url ${origin}/simple --target /workspace/wheels small && PYTHONPATH=/workspace/wheels /usr/bin/python3 -c 'import small; print(small.word)'; /usr/bin/python3 -m pip download -vv --no-cache-dir --retries 0 --index-url ${origin}/denied/ small`, [/an installed wheel/, /403 Client Error/], 120);
  const python = (library: string): string => `/usr/bin/python3 -c 'import ${library}; print(${library}.get("${origin}/hello").text); r = ${library}.get("${origin}/denied/x"); print(r.status_code, r.json()["rule"])'`;
  await client('requests', python('requests'), [/hello over/, /403 egress\.deny\[0\]/]);
  await client('httpx', python('httpx'), [/hello over/, /403 egress\.deny\[0\]/]);
  check.that('node: fetch trusts it and reads the denial', /hello over[\s\S]*403 egress\.deny\[0\]/.test(await inside(`node -e 'fetch("${origin}/hello").then(r => r.text()).then(console.log).then(() => fetch("${origin}/denied/x")).then(async r => console.log(r.status, (await r.json()).rule))'`)));
  if (clients.has('go')) {
    const built = spawnSync('/usr/bin/go', ['build', '-o', join(workspace, 'client-go'), join(workspace, 'programs/client.go')], { env: { ...process.env, CGO_ENABLED: '0', GOCACHE: join(workspace, '../go-cache'), GOFLAGS: '-mod=mod', GO111MODULE: 'off' }, encoding: 'utf8' });
    if (built.status !== 0) check.that('go: the client is built', false, built.stderr);
    await client('go', `/workspace/client-go ${origin}/hello ${origin}/denied/x`, [/200 HTTP\/2\.0 hello over/, /403 HTTP\/2\.0 .*egress\.deny\[0\]/]);
  }
  if (clients.has('java')) {
    const built = spawnSync('/usr/bin/javac', ['-d', workspace, join(workspace, 'programs/Client.java')], { encoding: 'utf8' });
    if (built.status !== 0) check.that('java: the client is built', false, built.stderr);
    await client('java', `cd /workspace && java -Xmx256m -cp /workspace Client ${origin}/hello ${origin}/denied/x`, [/200 HTTP_2 hello over/, /403 HTTP_2 .*egress\.deny\[0\]/], 120);
  }
  await client('deno (rustls)', `cd /workspace && DENO_DIR=/tmp/deno DENO_NO_UPDATE_CHECK=1 ./deno run --no-config --no-lock --allow-net programs/client_deno.js ${origin}/hello ${origin}/denied/x ${origin.replace('https', 'wss')}/ws`, [/200 hello over 2\.0/, /403 [\s\S]*egress\.deny\[0\]/, /echo from rustls/], 120);
  await client('deno (rustls) without our certificate', `cd /workspace && env -u DENO_CERT -u SSL_CERT_FILE -u NODE_EXTRA_CA_CERTS DENO_DIR=/tmp/deno DENO_TLS_CA_STORE=mozilla ./deno run --no-config --no-lock --allow-net programs/client_deno.js ${origin}/hello ${origin}/denied/x ${origin.replace('https', 'wss')}/ws`, [/UnknownIssuer|invalid peer certificate/], 120);
  await client('chromium', `chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --user-data-dir=/tmp/chromium --dump-dom ${origin}/page 2>/tmp/errors || tail -c 2000 /tmp/errors`, [/page: echo from the page, hello over [\d.]+, h2/], 180);
  check.that('chromium: its WebSocket message arrived as it was', !clients.has('chromium') || web.heard.includes('WS from the page'), web.heard.slice(-20));

  check.section('clients of other protocols');
  await client('grpc', `/usr/bin/python3 /workspace/programs/grpc_client.py ${hosts.rpc}:${web.port} "$SSL_CERT_FILE"`, [/answer spoken/, /PERMISSION_DENIED .*\(rule egress\.allow\[3\]\)/]);
  await client('mcp', `cd /workspace/mcp && cp ../programs/mcp_client.mjs . && /usr/bin/node mcp_client.mjs https://${hosts.tools}:${web.port}/mcp`, [/proof session-of-the-proof\n2 tools/, /search open tickets answered done search/, /delete_all open tickets refused Denied by policy \(rule /, /search secret plans refused Denied by policy \(rule /]);
  if (use.postgres !== undefined) {
    const psql = (user: string, database: string, sql: string): string => `PGPASSWORD=pass-word-1 PGCONNECT_TIMEOUT=20 psql -h db.example -p ${use.postgres} -U ${user} -d ${database} -tAc '${sql}'`;
    await client('psql', `${psql('tester', 'app', 'select text from notes')}; ${psql('tester', 'postgres', 'select 1')}`, [/a note from the database/, /FATAL:.*denied by policy[\s\S]*rule egress\.allow\[6\]/]);
  }
  if (use.redis !== undefined) {
    await client('redis', `redis-cli -h cache.example -p ${use.redis} set k kept; redis-cli -h cache.example -p ${use.redis} get k; redis-cli -h cache.example -p ${use.redis} flushall; redis-cli -h cache.example -p ${use.redis} get k`, [/OK\nkept\n/, /ERR denied by policy, rule egress.allow[\s\S]*kept/]);
  }

  check.section('what reached the other side');
  const all = web.heard.join('\n');
  check.that('nothing of what was denied', !/denied|Erase|delete_all|elsewhere/.test(all), all);
  check.that('of MCP only the allowed calls', web.heard.filter((line) => line.startsWith('MCP tools/call')).join() === (clients.has('mcp') ? 'MCP tools/call search' : ''), web.heard.filter((line) => line.startsWith('MCP')));
  const events = await instance.json<readonly unknown[]>(['audit', 'search', '--sandbox', 'clients', '--verdict', 'deny', '--limit', '1000']);
  check.that('each refusal is on record with its rule', JSON.stringify(events).includes('egress.deny[0]') && events.length >= 10, `${events.length} events`);
}
