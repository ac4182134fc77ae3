/** Egress rules: precedence, hosts, paths, queries, and what the network layer asks besides. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compilePath, looseSegments, loosen, matchPath, matchText, strictSegments } from './glob.ts';
import { ask, connectRequest, httpRequest, policyOf } from './sample.test.ts';

const at = (egress: string) => {
  const policy = policyOf({ egress });
  return (request: string): string => ask(policy, httpRequest(policy, request));
};

test('the more specific domain decides; between equals deny wins over escalate over allow', () => {
  const http = at(`    allow:
      - domain: "*.example.org"
      - { domain: api.example.org, methods: [GET] }
      - domain: both.example.org
    escalate:
      - { domain: both.example.org, methods: [POST, PUT] }
      - { domain: ask.example.org, methods: [DELETE] }
    deny:
      - { domain: both.example.org, methods: [PUT] }
      - { domain: "*.internal.example.org" }
      - { domain: log.example.org, paths: [/raw/**] }
      - { domain: "*" }
`);
  assert.equal(http('POST https://www.example.org/'), 'allow egress.allow[0]');
  assert.equal(http('GET https://api.example.org/'), 'allow egress.allow[1]');
  assert.equal(http('POST https://api.example.org/'), 'deny egress.allow[1]', 'an allow rule closes its domain');
  assert.equal(http('GET https://both.example.org/'), 'allow egress.allow[2]');
  assert.equal(http('POST https://both.example.org/'), 'escalate egress.escalate[0]');
  assert.equal(http('PUT https://both.example.org/'), 'deny egress.deny[0]');
  assert.equal(http('DELETE https://ask.example.org/'), 'escalate egress.escalate[1]');
  assert.equal(http('GET https://ask.example.org/'), 'allow egress.allow[0]', 'deny and escalate rules only narrow');
  assert.equal(http('GET https://a.internal.example.org/'), 'deny egress.deny[1]');
  assert.equal(http('GET https://log.example.org/raw/1'), 'deny egress.deny[2]');
  assert.equal(http('GET https://log.example.org/cooked'), 'allow egress.allow[0]');
  assert.equal(http('GET https://example.org/'), 'deny egress.deny[3]', 'a wildcard is one or more whole labels');
  assert.equal(http('GET https://a.b.example.org/'), 'allow egress.allow[0]');
  assert.equal(http('GET https://badexample.org/'), 'deny egress.deny[3]');
});

test('a star that escalates states what happens to all others', () => {
  const http = at('    allow: [{ domain: a.org }]\n    escalate: [{ domain: "*" }]\n');
  assert.equal(http('GET https://b.org/'), 'escalate egress.escalate[0]');
  assert.equal(http('GET https://a.org:8443/'), 'deny egress.allow[0]');
});

test('hosts are compared without case and final dot; what is no plain name is denied', () => {
  const http = at('    allow: [{ domain: "*.a.org" }, { domain: 10.0.0.1 }]\n');
  assert.equal(http('GET https://X.A.org./'), 'allow egress.allow[0]');
  assert.equal(http('GET https://10.0.0.1/'), 'allow egress.allow[1]');
  for (const host of ['.a.org', 'x..a.org', 'x%2ea.org', 'x a.org', '10.0.0.1.', 'ä.a.org', '']) {
    assert.match(http(`GET https://${host}/`), host === '10.0.0.1.' ? /^allow/ : /^deny egress.default/, host);
  }
});

test('no rule, no file, no network: denied', () => {
  assert.equal(at('    allow: []\n')('GET https://a.org/'), 'deny egress.default');
  const none = policyOf({});
  assert.equal(ask(none, connectRequest('a.org', 443)), 'deny egress.default');
  const closed = policyOf({ sandbox: 'apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: t }\nspec:\n  isolation: { network: none }\n', egress: '    allow: [{ domain: a.org }]\n' });
  assert.equal(ask(closed, httpRequest(closed, 'GET https://a.org/')), 'deny isolation.network');
  assert.ok(!closed.network.isNameAllowed('a.org'));
});

test('paths: allow rules are strict, rules that take away read paths as a careless server may', () => {
  const http = at('    allow: [{ domain: a.org, paths: ["/v1/**", "/x/*", /admin/read] }]\n    deny: [{ domain: a.org, paths: [/v1/admin/**] }]\n');
  for (const path of ['/v1', '/v1/', '/v1/a/b', '/x/y', '/admin/read']) assert.equal(http(`GET https://a.org${path}`), 'allow egress.allow[0]', path);
  for (const path of ['/', '/V1/a', '//v1/a', '/x/y/z', '/x', '/admin/read/', '/admin/READ']) assert.equal(http(`GET https://a.org${path}`), 'deny egress.allow[0]', path);
  for (const path of ['/v1/admin', '/v1/admin/x', '/v1/ADMIN/x', '/v1//admin', '/v1/admin;p=1/x']) assert.equal(http(`GET https://a.org${path}`), 'deny egress.deny[0]', path);
});

test('queries: under allow only the named parameters, else any of them', () => {
  const http = at('    allow: [{ domain: a.org, query: { state: [open, "clos*"], page: "*" } }, { domain: none.org, query: {} }]\n    deny: [{ domain: a.org, query: { page: "9*" } }]\n');
  for (const query of ['', '?state=open', '?state=closed&page=2', '?page=1&page=2']) assert.equal(http(`GET https://a.org/${query}`), 'allow egress.allow[0]', query);
  for (const query of ['?state=all', '?state=open&x=1', '?x', '?state=open&state=all']) assert.equal(http(`GET https://a.org/${query}`), 'deny egress.allow[0]', query);
  assert.equal(http('GET https://a.org/?page=1&page=99'), 'deny egress.deny[0]');
  assert.equal(http('GET https://none.org/'), 'allow egress.allow[1]');
  assert.equal(http('GET https://none.org/?a=b'), 'deny egress.allow[1]');
});

test('connecting and resolving are possible where some request is', () => {
  const policy = policyOf({ egress: '    allow: [{ domain: a.org, methods: [GET] }, { domain: "*.wide.net" }]\n    escalate: [{ domain: put.org, methods: [PUT] }, { domain: ask.org, ports: [22] }]\n    deny: [{ domain: no.wide.net }, { domain: some.wide.net, methods: [PUT] }, { domain: a.org, ports: [80] }]\n' });
  assert.equal(ask(policy, connectRequest('a.org', 443)), 'allow egress.allow[0]');
  assert.equal(ask(policy, connectRequest('a.org', 80)), 'deny egress.deny[2]');
  assert.equal(ask(policy, connectRequest('put.org', 443)), 'allow egress.escalate[0]');
  assert.equal(ask(policy, connectRequest('ask.org', 22)), 'escalate egress.escalate[1]');
  assert.equal(ask(policy, connectRequest('no.wide.net', 443)), 'deny egress.deny[0]');
  assert.equal(ask(policy, connectRequest('some.wide.net', 443)), 'allow egress.allow[1]');
  for (const [host, verdict] of [['a.org', 'allow'], ['put.org', 'allow'], ['ask.org', 'allow'], ['some.wide.net', 'allow'], ['no.wide.net', 'deny'], ['b.org', 'deny']] as const) {
    assert.equal(ask(policy, connectRequest(host, 0, 'dns')).split(' ')[0], verdict, host);
    assert.equal(policy.network.isNameAllowed(host), verdict === 'allow', host);
  }
  assert.deepEqual(policy.network.portsFor('a.org'), [443]);
  assert.deepEqual(policy.network.portsFor('ask.org'), [22]);
});

test('interception, handling and upstream addresses', () => {
  const { network } = policyOf({
    egress: '    allow:\n      - { domain: in.org, methods: [GET], ports: [8931], addresses: [127.0.0.1], ca: demo.pem }\n      - { domain: pass.org, tls: passthrough, uninspected: allow }\n      - { domain: raw.org, ports: [5432] }\n      - { domain: cat.org, ports: [8080] }\n      - { domain: 192.0.2.1 }\n    escalate: [{ domain: in.org, ports: [8931], addresses: ["::1"] }]\n',
    catalogue: 'actions: [{ name: a.b, match: [{ http: { host: cat.org } }] }]\n',
  });
  assert.deepEqual(network.interceptNames, ['cat.org', 'in.org', 'raw.org']);
  assert.ok(network.interceptFor('in.org') && !network.interceptFor('pass.org') && !network.interceptFor('other.org'));
  assert.deepEqual(network.upstreamsFor('in.org'), { addresses: ['127.0.0.1', '::1'], within: [], ca: 'demo.pem' });
  assert.deepEqual(network.upstreamsFor('other.org'), { addresses: [], within: [], ca: '' });
  assert.equal(network.handlingFor('in.org', 8931), 'inspect');
  assert.equal(network.handlingFor('pass.org', 443), 'passthrough');
  assert.equal(network.handlingFor('raw.org', 5432), 'raw');
  assert.equal(network.handlingFor('cat.org', 8080), 'inspect', 'an action of the catalogue must be seen');
  assert.equal(network.handlingFor('other.org', 5432), 'inspect');
});

test('a rule that takes away by what is inside is seen: nothing that it holds for is passed on unread', () => {
  const handling = (egress: string, host = 'a.org', port = 8080, more = ''): string => policyOf({ network: `networkPolicy:\n  name: t\n  egress:\n${egress}${more}` }).network.handlingFor(host, port);
  const raw = '    allow: [{ domain: a.org, ports: [8080] }]\n';
  assert.equal(handling(raw), 'raw');
  for (const words of ['maxBody: 1Ki', 'onOversize: escalate', 'methods: [GET]', 'as: a.b']) assert.equal(handling(`    allow: [{ domain: a.org, ports: [8080], ${words} }]\n`), 'inspect', words);
  for (const rule of ['methods: [DELETE]', 'paths: [/admin/**]', 'query: { a: b }', 'headers: { x-a: b }', 'protocol: websocket', 'ports: [8080], methods: [DELETE]']) assert.equal(handling(`${raw}    deny: [{ domain: a.org, ${rule} }]\n`), 'inspect', rule);
  assert.equal(handling(`${raw}    deny: [{ domain: a.org, ports: [80], methods: [DELETE] }]\n`), 'raw', 'of another port');
  assert.equal(handling(`${raw}    deny: [{ domain: "*", methods: [DELETE] }]\n`), 'raw', 'a less specific domain has no say in it');
  const wide = '    allow: [{ domain: "*.corp.org", tls: passthrough, uninspected: allow }]\n';
  assert.equal(handling(wide, 'a.corp.org', 443), 'passthrough');
  assert.equal(handling(`${wide}    deny: [{ domain: a.corp.org, paths: [/admin] }]\n`, 'a.corp.org', 443), 'inspect');
  assert.equal(handling(`${wide}    deny: [{ domain: a.corp.org, paths: [/admin] }]\n`, 'b.corp.org', 443), 'passthrough');
  assert.ok(policyOf({ egress: `${wide}    deny: [{ domain: a.corp.org, paths: [/admin] }]\n` }).network.interceptNames.includes('a.corp.org'), 'a certificate can be made for it');
  const closed = '  inspection: { tlsDecrypt: false, scanForPII: false }\n';
  assert.equal(handling('    allow: [{ domain: a.corp.org }]\n', 'a.corp.org', 443, closed), 'passthrough');
  assert.equal(handling('    allow: [{ domain: "*.corp.org" }]\n    deny: [{ domain: a.corp.org, paths: [/admin] }]\n', 'a.corp.org', 443, closed), 'inspect');
  assert.equal(handling('    allow: [{ domain: "*.corp.org", protocol: tcp, ports: [443] }]\n    deny: [{ domain: a.corp.org, paths: [/admin] }]\n', 'a.corp.org', 443), 'inspect');
});

test('a parameter that is taken away is, however a careless server may read it', () => {
  const policy = policyOf({ egress: '    allow: [{ domain: a.org }, { domain: b.org, query: { a: "1" } }]\n    deny: [{ domain: a.org, query: { Force: [yes, "on*"] } }]\n' });
  const at = (query: string): string => ask(policy, httpRequest(policy, `GET https://a.org/?${query}`));
  for (const query of ['Force=yes', 'force=YES', 'FORCE=only', 'a=1&Force=yes', 'a=1;Force=yes', 'a;force=yes;b', 'force[]=yes', 'Force[x]=on', 'a=1;force[]=yes']) assert.equal(at(query), 'deny egress.deny[0]', query);
  for (const query of ['force=no', 'forced=yes', 'a=force;b=yes', 'a=1;force=no', '']) assert.equal(at(query), 'allow egress.allow[0]', query);
  for (const query of ['A=1', 'a=1;b=2', 'a[]=1']) assert.equal(ask(policy, httpRequest(policy, `GET https://b.org/?${query}`)), 'deny egress.allow[1]', query);
});

test('patterns: every kind of wildcard, and no input that takes long', () => {
  const path = (pattern: string, text: string): boolean => matchPath(compilePath(pattern), strictSegments(text));
  for (const [pattern, text] of [['/**', '/'], ['/**', '/a/b'], ['/a/**/z', '/a/z'], ['/a/**/z', '/a/b/c/z'], ['/a*c', '/abc'], ['/{x}/b', '/q/b'], ['/**/a/**', '/x/a'], ['/', '/']] as const) assert.ok(path(pattern, text), `${pattern} ${text}`);
  for (const [pattern, text] of [['/a/*', '/a'], ['/a/*', '/a/b/c'], ['/a*c', '/a/c'], ['/{x}/b', '//b'], ['/a/**/z', '/a/zz'], ['/', '/a'], ['/a', '/a/']] as const) assert.ok(!path(pattern, text), `${pattern} ${text}`);
  assert.ok(matchPath(loosen(compilePath('/A/b*')), looseSegments('//a;x/BC/')));
  assert.ok(matchText('a*b*c', 'aXbXbXc') && !matchText('a*b', 'aXbX') && matchText('*', '') && !matchText('', 'a'));
  assert.ok(!matchText('*a*a*a*a*a*a*b', 'a'.repeat(20_000)));
  assert.ok(!path(`${'/**/a'.repeat(8)}/b`, '/a'.repeat(2000)));
});

test('network open: every host on every port unread, but what the network policy denies, or decides more specifically', () => {
  const open = (egress?: string) => policyOf({ sandbox: 'apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: t }\nspec:\n  isolation: { network: open }\n', ...(egress === undefined ? {} : { egress }) });
  const bare = open();
  assert.equal(ask(bare, httpRequest(bare, 'POST https://any.example/x')), 'allow isolation.network');
  assert.equal(ask(bare, connectRequest('any.example', 22)), 'allow isolation.network');
  assert.deepEqual([443, 22, 80].map((port) => bare.network.handlingFor('any.example', port)), ['unread', 'unread', 'unread']);
  assert.ok(bare.network.isNameAllowed('any.example') && !bare.network.interceptFor('any.example'));
  assert.deepEqual(bare.network.interceptNames, []);
  const policy = open('    allow: [{ domain: api.org, methods: [GET] }]\n    deny: [{ domain: "*.bad.org" }, { domain: log.org, paths: [/raw/**] }]\n');
  assert.equal(ask(policy, httpRequest(policy, 'POST https://api.org/')), 'deny egress.allow[0]', 'a named domain is closed');
  assert.equal(policy.network.handlingFor('api.org', 443), 'inspect');
  assert.equal(ask(policy, connectRequest('x.bad.org', 443)), 'deny egress.deny[0]');
  assert.equal(ask(policy, httpRequest(policy, 'GET http://log.org/raw/1')), 'deny egress.deny[1]');
  assert.equal(policy.network.handlingFor('log.org', 443), 'inspect', 'a rule on paths needs TLS opened');
  assert.deepEqual(policy.network.interceptNames, ['api.org', 'log.org']);
  assert.equal(ask(policy, httpRequest(policy, 'GET https://log.org/cooked')), 'allow isolation.network:log.org');
  const closed = open('    deny: [{ domain: "*" }]\n');
  assert.equal(ask(closed, connectRequest('any.example', 443)), 'deny egress.deny[0]', 'a denial of everything closes the level');
});

test('parameters that are required must occur; the others of a query may', () => {
  const policy = policyOf({ egress: '    allow: [{ domain: git.org, query: { service: ["git-*"], depth: "*" }, queryRequired: [service] }]\n' });
  const asked = (query: string): string => ask(policy, httpRequest(policy, `GET https://git.org/info/refs${query}`)).split(' ')[0] ?? '';
  assert.deepEqual(['?service=git-upload-pack', '?service=git-x&depth=1', '', '?depth=1', '?service=x', '?service=git-x&service=x', '?service=git-x&other=1'].map(asked), ['allow', 'allow', 'deny', 'deny', 'deny', 'deny', 'deny']);
});

test('a rule that only watches what is said still is for its programs', () => {
  const policy = policyOf({ egress: '    allow: [{ domain: api.org, methods: [GET], binaries: [/usr/bin/gh], mode: monitor }]\n' });
  const asked = (program: string): string => {
    const request = httpRequest(policy, 'DELETE https://api.org/x');
    assert.ok(request.resource.kind === 'http');
    return ask(policy, { ...request, resource: { ...request.resource, program } }).split(' ')[0] ?? '';
  };
  assert.deepEqual(['/usr/bin/gh', '/usr/bin/curl', ''].map(asked), ['allow', 'deny', 'deny']);
});
