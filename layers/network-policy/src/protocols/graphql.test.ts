/** GraphQL requests: what is read from them, what is refused, and that no bytes break the reader. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { readGraphqlDocument } from './graphql-document.ts';
import type { GraphqlOperation } from './graphql-document.ts';
import { isGraphqlName, isGraphqlUrl, readGraphqlRequest } from './graphql-request.ts';
import type { Carried } from './graphql-request.ts';
import { GraphqlProblem } from './graphql-tokens.ts';

const one = (source: string): GraphqlOperation | undefined => readGraphqlDocument(source)[0];
const post = (body: string, contentType = 'application/json', query: Carried['query'] = []): Carried => ({ method: 'POST', contentType, query, body: Buffer.from(body) });
const json = (value: unknown): Carried => post(JSON.stringify(value));

test('operation, name and top-level fields; aliases and fragments do not hide a field', () => {
  assert.deepEqual(one('{ viewer { login } }'), { operation: 'query', name: '', fields: ['viewer'] });
  assert.deepEqual(one('mutation M($id: ID! = "x" @d, $l: [Int!]!) @a(b: {c: [1, -2.5e3, $id, E, true]}) { viewer: deleteUser(id: $id, s: """a "quoted" \\""" } """) { id } }'), { operation: 'mutation', name: 'M', fields: ['deleteUser'] });
  assert.deepEqual(one('query Q { ...A ... on Query @skip(if: true) { b: second } ... { third } } fragment A on Query { first ...B } fragment B on Query { zero ...A }')?.fields, ['first', 'second', 'third', 'zero']);
  assert.deepEqual(one('subscription { # { evil }\n on, query fragment: mutation }'), { operation: 'subscription', name: '', fields: ['mutation', 'on', 'query'] });
  assert.deepEqual(readGraphqlDocument('\uFEFFquery A { a } mutation B { b }').map((o) => `${o.operation} ${o.name} ${o.fields.join()}`), ['query A a', 'mutation B b']);
});

test('what is not an executable document is refused', () => {
  for (const bad of [
    '', '{', '{}', '{ a', 'a', '{ a } }', '{ a(b: ) }', '{ a(b: 01) }', '{ a(b: 1.) }', '{ a(b: 1x) }', '{ a(b: "\n") }', '{ a(b: "\\x") }', '{ a(b: """) }', '{ a(b: """\\""") }', '{ a \\ }', '{ a; b }', '{ ...X }',
    'type T { a: Int }', 'extend type T { a: Int }', 'schema { query: Q }', 'fragment F on Q { a }', 'fragment on on Q { a } { b }', '{ a } { b }', 'query A { a } query A { b }', '{ a } query B { b }',
    'query ($a = $b) { c }', 'query () { a }', '{ a() }', '{ a @ }', '{ ... }', '{ .. a }', 'query { a } fragment F on Q { a } fragment F on Q { b }', '{ a\0 }', `${'{a'.repeat(300)}${'}'.repeat(300)}`, `{ a(b: ${'['.repeat(100_000)}) }`,
    '{ \u00e9 }', '{ a(b: $) }', 'Query { a }', 'QUERY { a }',
  ]) assert.throws(() => readGraphqlDocument(bad), GraphqlProblem, bad.slice(0, 60));
});

test('the carriers: POST JSON, batch, bare document, GET', () => {
  const query = 'query Q { a }';
  const found = { ok: true, messages: [{ operation: 'query', name: 'Q', fields: ['a'] }] };
  assert.deepEqual(readGraphqlRequest(json({ query, operationName: 'Q', variables: { x: 1 }, extensions: null })), found);
  assert.deepEqual(readGraphqlRequest(post(query, 'application/graphql; charset=utf-8')), found);
  assert.deepEqual(readGraphqlRequest({ method: 'GET', contentType: '', query: [['query', query], ['variables', '{"a":1}'], ['other', '1']], body: Buffer.alloc(0) }), found);
  const batch = readGraphqlRequest(json([{ query }, { query: 'mutation { drop }' }]));
  assert.deepEqual(batch.ok && batch.messages.map((m) => m.operation), ['query', 'mutation']);
  assert.deepEqual(readGraphqlRequest(json({ query, extensions: { persistedQuery: { version: 1, sha256Hash: hash('sha256', query, 'hex') } } })), found);
  const both = readGraphqlRequest(json({ query: 'query A { a } mutation B { b }', operationName: 'A' }));
  assert.deepEqual(both.ok && both.messages.map((m) => m.operation), ['query', 'mutation'], 'an operation that is not named counts too');
});

test('what servers could read differently is refused', () => {
  const query = '{ a }';
  const persisted = (sum: string): unknown => ({ persistedQuery: { version: 1, sha256Hash: sum } });
  const cases: readonly (readonly [string, Carried])[] = [
    ['no query', json({})], ['persisted only', json({ extensions: persisted(hash('sha256', query, 'hex')) })], ['another hash', json({ query, extensions: persisted('0'.repeat(64)) })],
    ['hash in capitals', json({ query, extensions: persisted(hash('sha256', query, 'hex').toUpperCase()) })],
    ['id', json({ id: 'x', query })], ['documentId', json({ documentId: 'x' })], ['Query', json({ Query: query })], ['both spellings', post('{"query":"{ a }","Query":"mutation { b }"}')],
    ['twice', post('{"query":"{ a }","query":"mutation { b }"}')], ['list', json([])], ['nested list', json([[{ query }]])], ['text', json('x')], ['null', json(null)], ['no name', json({ query: 'query A { a } query B { b }' })],
    ['wrong name', json({ query, operationName: 'B' })], ['query is a list', json({ query: [query] })], ['form', post('query=%7Ba%7D', 'application/x-www-form-urlencoded')], ['multipart', post('x', 'multipart/form-data; boundary=x')],
    ['no type', post(JSON.stringify({ query }), '')], ['charset', post(JSON.stringify({ query }), 'application/json; charset=utf-16')], ['URL and body', post(JSON.stringify({ query }), 'application/json', [['query', 'mutation { b }']])],
    ['URL variables and body', post(JSON.stringify({ query }), 'application/json', [['variables', '{}']])], ['URL id and body', post(JSON.stringify({ query }), 'application/json', [['documentId', 'x']])],
    ['query[] in URL', post(JSON.stringify({ query }), 'application/json', [['query[]', 'mutation { b }']])], ['QUERY in URL', post(JSON.stringify({ query }), 'application/json', [['QUERY', 'mutation { b }']])],
    ['GET twice', { method: 'GET', contentType: '', query: [['query', query], ['query', 'mutation { b }']], body: Buffer.alloc(0) }], ['GET with body', { method: 'GET', contentType: '', query: [['query', query]], body: Buffer.from('x') }],
    ['PUT', { ...json({ query }), method: 'PUT' }], ['not UTF-8', { ...json({}), body: Buffer.from([0x22, 0xff, 0x22]) }], ['bare in URL and body', post(query, 'application/graphql', [['query', query]])],
    ['long batch', json(Array.from({ length: 101 }, () => ({ query })))], ['extensions', json({ query, extensions: 1 })],
  ];
  for (const [name, carried] of cases) assert.equal(readGraphqlRequest(carried).ok, false, name);
});

const nameOf = fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,8}$/);
const blank = fc.constantFrom(' ', '\n', ',', '\t', ' # a comment { } \n', '\uFEFF ');
test('property: the fields of a generated document are found, however it is spelled', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(nameOf, fc.option(nameOf), fc.constantFrom('plain', 'inline', 'spread'), fc.constantFrom('', '(a: "}")', '(a: {b: [1]}) @x', ' { deep { deeper } }'))), blank, (parts, space) => {
      const fragments: string[] = [];
      const text = parts.map(([name, alias, how, tail], index) => {
        const written = `${alias === null ? '' : `${alias}${space}:${space}`}${name}${space}${tail}`;
        if (how === 'plain') return written;
        if (how === 'inline') return `... on X {${space}${written} }`;
        fragments.push(`fragment F${index} on X { ${written} }`);
        return `...F${index}`;
      });
      const source = `query { start${space}${text.join(space)} } ${fragments.join(space)}`;
      assert.deepEqual(one(source)?.fields, [...new Set(['start', ...parts.map(([name]) => name)])].toSorted());
    }),
    { seed: 41, numRuns: 300 },
  );
});

test('property: mutated bytes give operations or a refusal, never anything else', () => {
  const seeds = ['query Q($a: [Int!]! = 1) @d { x: y(a: $a, b: "s", c: """t""") { ...F } ... on T { z } } fragment F on T { w }', '{"query":"mutation { a }","operationName":null}'];
  fc.assert(
    fc.property(fc.constantFrom(...seeds), fc.array(fc.tuple(fc.nat(200), fc.nat(255), fc.nat(2)), { maxLength: 6 }), (seed, changes) => {
      const bytes = [...Buffer.from(seed)];
      for (const [at, value, how] of changes) bytes.splice(at % (bytes.length + 1), how === 0 ? 1 : 0, ...(how === 1 ? [] : [value]));
      for (const type of ['application/json', 'application/graphql']) {
        const read = readGraphqlRequest({ method: 'POST', contentType: type, query: [], body: Buffer.from(bytes) });
        assert.ok(read.ok ? read.messages.length > 0 : read.why.length > 0);
      }
    }),
    { seed: 42, numRuns: 2000 },
  );
});

test('every name by which a server could be told an operation is one, however it is spelled; others say nothing', () => {
  for (const name of ['query', ' query', '+query', 'query\0', 'query.', 'query[]', 'QUERY', '\uff51uery', 'operationName', 'operationId', 'operation_id', 'query_hash', 'sha256Hash', 'documentHash', 'persistedQueryId', 'document', 'doc_id', 'mutation', 'operations', 'requests', 'variables']) assert.ok(isGraphqlName(name), name);
  for (const name of ['name', 'page', 'userId', 'q', 'filter', 'documents', 'method', '']) assert.ok(!isGraphqlName(name), name);
  assert.ok(isGraphqlUrl([['a', '1;query=mutation{drop}']]) && isGraphqlUrl([['operationName', 'Drop']]) && !isGraphqlUrl([['a', '1;b=2']]));
});
