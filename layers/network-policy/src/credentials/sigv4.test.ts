/** Signature Version 4 against the values that AWS publishes, and what is not signed. */
import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { test } from 'node:test';
import { insertCredentials } from './credentials.ts';
import type { Credential } from './credentials.ts';
import { hashOf, readClaim, signAnew } from './sigv4.ts';
import { openDesk, openUpstream, say, wholeAnswer } from '../testing/testing-egress.ts';

const suite = { secret: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY', accessKeyId: 'AKIDEXAMPLE' };
const zeros = '0'.repeat(64);

interface Case {
  readonly name: string;
  readonly method?: string;
  readonly target?: string;
  readonly headers: readonly string[];
  readonly signed: string;
  readonly body?: string;
  readonly scope?: string;
  readonly secret?: string;
  readonly expected: string;
}
const host = ['Host', 'example.amazonaws.com', 'X-Amz-Date', '20150830T123600Z'];
// The first five are from the test suite that AWS publishes, the others from its documentation (IAM ListUsers; S3 GET Object).
const cases: readonly Case[] = [
  { name: 'get-vanilla', headers: host, signed: 'host;x-amz-date', expected: '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31' },
  { name: 'get-vanilla-query-order-key-case', target: '/?Param2=value2&Param1=value1', headers: host, signed: 'host;x-amz-date', expected: 'b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500' },
  { name: 'get-header-value-trim', headers: ['Host', 'example.amazonaws.com', 'My-Header1', ' value1', 'My-Header2', ' "a   b   c"', 'X-Amz-Date', '20150830T123600Z'], signed: 'host;my-header1;my-header2;x-amz-date', expected: 'acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736' },
  { name: 'post-vanilla', method: 'POST', headers: host, signed: 'host;x-amz-date', expected: '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b' },
  { name: 'post-x-www-form-urlencoded', method: 'POST', headers: ['Content-Type', 'application/x-www-form-urlencoded', ...host], signed: 'content-type;host;x-amz-date', body: 'Param1=value1', expected: 'ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a' },
  {
    name: 'IAM ListUsers', target: '/?Action=ListUsers&Version=2010-05-08', headers: ['Content-Type', 'application/x-www-form-urlencoded; charset=utf-8', 'Host', 'iam.amazonaws.com', 'X-Amz-Date', '20150830T123600Z'],
    signed: 'content-type;host;x-amz-date', scope: '20150830/us-east-1/iam', expected: '5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7',
  },
  {
    name: 'S3 GET Object', target: '/test.txt', headers: ['Host', 'examplebucket.s3.amazonaws.com', 'Range', 'bytes=0-9', 'x-amz-content-sha256', hashOf(undefined), 'x-amz-date', '20130524T000000Z'],
    signed: 'host;range;x-amz-content-sha256;x-amz-date', scope: '20130524/us-east-1/s3', secret: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY', expected: 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
  },
];

const claimText = (scope: string, signed: string): string => `AWS4-HMAC-SHA256 Credential=NEMO12345678/${scope}/aws4_request, SignedHeaders=${signed}, Signature=${zeros}`;

for (const { name, method = 'GET', target = '/', headers, signed, body, scope = '20150830/us-east-1/service', secret, expected } of cases) {
  test(`signed as AWS says: ${name}`, () => {
    const authorization = claimText(scope, signed);
    const list = [...headers, 'Authorization', authorization];
    const claim = readClaim(authorization);
    assert.ok(claim);
    assert.equal(signAnew({ method, target, headers: list, bodyHash: hashOf(body === undefined ? undefined : Buffer.from(body)) }, claim, { ...suite, ...(secret === undefined ? {} : { secret }) }), undefined);
    assert.equal(list.at(-1), `AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/${scope}/aws4_request, SignedHeaders=${signed}, Signature=${expected}`);
  });
}

const credential: Credential = { placeholder: 'NEMO12345678', value: suite.secret, host: 'example.amazonaws.com', header: 'authorization', pathPrefix: '', port: 443, sigv4: { accessKeyId: suite.accessKeyId, sessionToken: 'token-1234567890', region: 'us-east-1' } };
const to = { host: 'example.amazonaws.com', port: 443, paths: ['/'], confidential: true, method: 'GET', bodyHash: hashOf(undefined) };
const put = (headers: string[], where: Partial<typeof to> = {}, target = '/'): ReturnType<typeof insertCredentials> => insertCredentials(headers, target, [credential], { ...to, ...where });

/** By itself, for what AWS publishes no values of: from the canonical request, in bytes, to the signature. */
function signatureOf(canonical: Buffer, scope: string): string {
  let key: Buffer = Buffer.from(`AWS4${suite.secret}`);
  for (const part of `${scope}/aws4_request`.split('/')) key = createHmac('sha256', key).update(part).digest();
  return createHmac('sha256', key).update(`AWS4-HMAC-SHA256\n20150830T123600Z\n${scope}/aws4_request\n${createHash('sha256').update(canonical).digest('hex')}`).digest('hex');
}

test('bytes of a field are signed as they are sent, and the path of S3 and its like is encoded once, however it is sent', () => {
  for (const [service, target, path] of [
    ['s3', '/a(b)/%e4%b8%ad%20c', '/a%28b%29/%E4%B8%AD%20c'], ['s3-outposts', '/a%20b', '/a%20b'], ['s3-object-lambda', '/a!', '/a%21'], ['s3tables', '/a%20b', '/a%2520b'], ['lambda', '/a%3Ab', '/a%253Ab'], ['execute-api', '//b///k//', '/b/k/'], ['s3', '//b//k', '//b//k'],
  ] as const) {
    const scope = `20150830/us-east-1/${service}`;
    const name = Buffer.from('grün 中', 'utf8');
    const authorization = claimText(scope, 'host;x-amz-date;x-amz-meta-name');
    const headers = [...host, 'x-amz-meta-name', name.toString('latin1'), 'Authorization', authorization];
    const claim = readClaim(authorization);
    assert.ok(claim);
    assert.equal(signAnew({ method: 'GET', target, headers, bodyHash: hashOf(undefined) }, claim, suite), undefined);
    const canonical = Buffer.concat([Buffer.from(`GET\n${path}\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\nx-amz-meta-name:`), name, Buffer.from(`\n\nhost;x-amz-date;x-amz-meta-name\n${hashOf(undefined)}`)]);
    assert.equal(headers.at(-1)?.split('Signature=')[1], signatureOf(canonical, scope), `${service} ${target}`);
  }
});

test('the secret key never stands in a header; a session token is added and signed, the program’s own is dropped', () => {
  const headers = [...host, 'X-Amz-Security-Token', 'made-up', 'User-Agent', 'x', 'Authorization', claimText('20150830/us-east-1/service', 'host;user-agent;x-amz-date;x-amz-security-token')];
  assert.equal(put(headers).state, 'done');
  assert.ok(!headers.join('\n').includes(suite.secret) && !headers.join('\n').includes('NEMO12345678') && !headers.join('\n').includes('made-up'));
  assert.match(headers.join('\n'), /Credential=AKIDEXAMPLE\/20150830\/us-east-1\/service\/aws4_request, SignedHeaders=host;x-amz-date;x-amz-security-token, Signature=[0-9a-f]{64}/);
  assert.ok(headers.includes('token-1234567890'));
});

test('it is signed last: over what others put in, and a placeholder anywhere else is found wherever the token stood', () => {
  const authorization = claimText('20150830/us-east-1/service', 'host;x-amz-date;x-amz-meta-key');
  const other: Credential = { placeholder: 'nemo-other-12345678', value: 'the-real-value', host: to.host, header: 'x-amz-meta-key', pathPrefix: '', port: 443 };
  const signed = (key: string): string => {
    const headers = [...host, 'x-amz-meta-key', key, 'Authorization', authorization];
    const inserted = insertCredentials(headers, '/', [credential, other], to);
    assert.deepEqual([inserted.state, inserted.state === 'done' && inserted.used.length], ['done', key === other.placeholder ? 2 : 1]);
    return headers[headers.indexOf('Authorization') + 1] ?? '';
  };
  assert.equal(signed(other.placeholder), signed(other.value));
  assert.equal(put(['X-Amz-Security-Token', 'made-up', ...host, 'Authorization', authorization, 'X-Other', 'NEMO12345678']).state, 'misplaced');
});

test('what S3 is to copy from lies where the key is bound to, however it is written', () => {
  const bound = { ...credential, pathPrefix: '/bucket-a' };
  const copies = (source: string, key = bound): string => insertCredentials([...host, 'X-Amz-Copy-Source', source, 'Authorization', claimText('20150830/us-east-1/service', 'host;x-amz-copy-source;x-amz-date')], '/bucket-a/k', [key], { ...to, method: 'PUT', paths: ['/bucket-a/k'] }).state;
  for (const source of ['/bucket-a/x', 'bucket-a/x', 'bucket-a%2Fx?versionId=3', '/bucket-a/a%20b']) assert.equal(copies(source), 'done', source);
  for (const source of ['/bucket-b/x', 'bucket-b%2Fx', 'bucket-ab/x', '/bucket-a/../bucket-b/x', 'bucket-a%2F..%2Fbucket-b/x', '//bucket-b/x', 'arn:aws:s3:eu:1:accesspoint/a/object/x', '']) assert.equal(copies(source), 'unsigned', source);
  assert.equal(copies('/bucket-b/x', credential), 'done', 'bound to no path');
});

test('what cannot be signed for certain, or is not bound here, is refused', () => {
  const plain = (authorization: string, more: readonly string[] = []): string[] => [...host, ...more, 'Authorization', authorization];
  const good = claimText('20150830/us-east-1/service', 'host;x-amz-date');
  const cases: readonly (readonly [string, string[], Partial<typeof to>?, string?])[] = [
    ['another region', plain(claimText('20150830/eu-west-1/service', 'host;x-amz-date'))], ['another day', plain(claimText('20150831/us-east-1/service', 'host;x-amz-date'))], ['no host', plain(claimText('20150830/us-east-1/service', 'x-amz-date'))],
    ['chunked', plain(good, ['x-amz-content-sha256', 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD'])], ['bearer', plain('Bearer NEMO12345678')], ['basic', plain(`Basic ${Buffer.from('NEMO12345678:x').toString('base64')}`)], ['elsewhere', [...host, 'X-Other', 'NEMO12345678']],
    ['elliptic', plain(good.replace('HMAC', 'ECDSA-P256'))], ['two dates', plain(good, ['x-amz-date', '20150830T123600Z'])], ['another host', plain(good), { host: 'evil.test' }], ['another port', plain(good), { port: 8443 }], ['in the clear', plain(good), { confidential: false }],
    ['in the URL', plain(good), {}, '/?X-Amz-Credential=NEMO12345678'], ['twice', [...plain(good), 'X-Other', 'NEMO12345678']],
  ];
  for (const [name, headers, where = {}, target = '/'] of cases) {
    assert.notEqual(put(headers, where, target).state, 'done', name);
    assert.ok(!headers.join('\n').includes(suite.secret), name);
  }
});

test('through the proxy: the body is read where the signature needs its hash, and one whose signed chunks cannot be told apart does not leave', async () => {
  let seen: string[][] = [];
  const upstream = await openUpstream((req, res) => {
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk));
    req.on('end', () => {
      seen.push([...req.rawHeaders, 'body', Buffer.concat(chunks).toString()]);
      res.end('done');
    });
  }, 'aws.test');
  const desk = await openDesk({ rules: [{ host: 'aws.test', verdict: 'allow' }], pins: [{ host: 'aws.test', caPem: upstream.caPem ?? '' }], ports: [upstream.port], credentials: [{ ...credential, host: 'aws.test', port: upstream.port }] });
  try {
    const call = async (more: string): Promise<string> => {
      const head = `POST /?b=2&a=1 HTTP/1.1\r\nHost: aws.test:${upstream.port}\r\nX-Amz-Date: 20150830T123600Z\r\nAuthorization: ${claimText('20150830/us-east-1/service', 'host;x-amz-date')}\r\n${more}Content-Length: 5\r\nConnection: close\r\n\r\nhello`;
      return say(await desk.tls('aws.test', upstream.port), head, wholeAnswer);
    };
    assert.match(await call(''), /^HTTP\/1\.1 200/);
    const [got = []] = seen;
    const at = (name: string): string => got[got.findIndex((one) => one.toLowerCase() === name) + 1] ?? '';
    const authorization = at('authorization');
    const claim = readClaim(authorization);
    assert.ok(claim?.accessKeyId === suite.accessKeyId && at('body') === 'hello');
    const again = got.slice(0, -2).map((one) => (one === authorization ? authorization.replace(/[0-9a-f]{64}$/, zeros) : one));
    assert.equal(signAnew({ method: 'POST', target: '/?b=2&a=1', headers: again, bodyHash: hashOf(Buffer.from('hello')) }, claim, { ...suite, sessionToken: 'token-1234567890' }), undefined);
    assert.ok(again.includes(authorization), 'what AWS would compute');
    seen = [];
    assert.match(await call('x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\r\n'), /^HTTP\/1\.1 403[^]*credentials\.sigv4[^]*x-amz-decoded-content-length/);
    assert.deepEqual(seen, []);
  } finally {
    await desk.close();
    await upstream.close();
  }
});

test('a session token that a service sends back is masked, in head and body', async () => {
  const token = 'token-1234567890';
  const upstream = await openUpstream((_req, res) => {
    res.setHeader('x-echo', token);
    res.end(`it is ${token}.`);
  });
  const desk = await openDesk({
    rules: [{ host: 'aws.test', verdict: 'allow' }], pins: [{ host: 'aws.test' }], ports: [upstream.port],
    credentials: [{ placeholder: 'NEMO12345678', value: 'secret-access-key-0123456789', host: 'aws.test', header: 'authorization', pathPrefix: '', sigv4: { accessKeyId: 'AKIAEXAMPLE0', sessionToken: token } }],
  });
  try {
    const told = await say(await desk.tcp('aws.test', upstream.port), `GET / HTTP/1.1\r\nHost: aws.test:${upstream.port}\r\nConnection: close\r\n\r\n`, wholeAnswer);
    assert.match(told, /^HTTP\/1\.1 200 /);
    assert.ok(!told.includes(token), told);
    assert.match(told, /it is \*{16}\./);
  } finally {
    await desk.close();
    await upstream.close();
  }
});
