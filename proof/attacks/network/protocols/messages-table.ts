/** GraphQL, MCP and JSON-RPC, byte by byte: what asks for more than it seems to, to one of the readers that a body may have. */

export interface Message {
  readonly name: string;
  /** Of the bodies; absent: no body. Latin-1. */
  readonly body?: string;
  readonly method?: string;
  readonly path?: string;
  /** Whole lines, without the framing. */
  readonly headers?: string;
  /** `refused`: no message for certain. `denied`: by a rule, in the words of the protocol. `passes`: as it came. */
  readonly expect: 'refused' | 'denied' | 'passes';
}

const json = 'Content-Type: application/json\r\n';
const ask = (query: string): string => JSON.stringify({ query });
const bom = '\xef\xbb\xbf';

const queries: readonly (readonly [string, string, 'refused' | 'denied'])[] = [
  ['a mutation', ask('mutation { pay }'), 'denied'], ['another field', ask('{ secrets }'), 'denied'], ['an alias of an allowed name', ask('{ viewer: secrets }'), 'denied'], ['two fields, one by alias', ask('{ viewer a: secrets }'), 'denied'], ['a fragment', ask('{ ...f } fragment f on Query { secrets }'), 'denied'], ['fragments in fragments', ask('{ ...a } fragment a on Query { ...b } fragment b on Query { secrets }'), 'denied'], ['fragments in a circle', ask('{ ...a } fragment a on Query { viewer ...b } fragment b on Query { ...a secrets }'), 'denied'], ['a fragment inside', ask('{ viewer ... on Query { secrets } }'), 'denied'], ['a fragment inside without a type', ask('{ viewer ... { secrets } }'), 'denied'],
  ['a field that is skipped', ask('{ viewer secrets @skip(if: true) }'), 'denied'], ['a fragment that is included', ask('{ viewer ...f @include(if: false) } fragment f on Query { secrets }'), 'denied'], ['a mutation behind a comment', ask('#{ viewer }\nmutation { pay }'), 'denied'], ['a mutation behind a comment that ends by CR', ask('# \rmutation { pay }'), 'denied'], ['a comment that ends by U+2028 is none that ends', ask('{ viewer } # \u2028mutation { pay }\n mutation m { pay }'), 'refused'], ['a query within a text', ask('mutation { pay(x: "{ viewer }") }'), 'denied'], ['a query within a block', ask('mutation { pay(x: """\n{ viewer } """) }'), 'denied'],
  ['a block that ends by an escape', ask('query { viewer(x: """ \\""" """) secrets }'), 'denied'], ['a text that never ends', ask('{ viewer(x: "'), 'refused'], ['two operations, the allowed named', JSON.stringify({ query: 'query a { viewer } mutation b { pay }', operationName: 'a' }), 'denied'], ['two operations, none named', ask('query a { viewer } mutation b { pay }'), 'refused'], ['two operations of one name', JSON.stringify({ query: 'query a { viewer } query a { secrets }', operationName: 'a' }), 'refused'], ['an operation that is not there', JSON.stringify({ query: 'query a { viewer }', operationName: 'b' }), 'refused'], ['an operation name that is a list', '{"query":"query a { viewer }","operationName":["a"]}', 'refused'],
  ['a subscription', ask('subscription { viewer }'), 'denied'], ['a batch with a mutation', `[${ask('{ viewer }')},${ask('mutation { pay }')}]`, 'denied'], ['a batch of nothing', '[]', 'refused'], ['a batch in a batch', `[[${ask('{ viewer }')}]]`, 'refused'], ['a batch beyond all bounds', `[${Array.from({ length: 101 }, () => ask('{ viewer }')).join()}]`, 'refused'], ['the query twice', '{"query":"{ viewer }","query":"mutation { pay }"}', 'refused'], ['the query twice, once escaped', '{"query":"{ viewer }","\\u0071uery":"mutation { pay }"}', 'refused'], ['the query in capitals beside it', '{"query":"{ viewer }","Query":"mutation { pay }"}', 'refused'], ['another word beside it', '{"query":"{ viewer }","id":"x"}', 'refused'],
  ['a persisted query by a long s', '{"exten\xc5\xbfions":{"persistedQuery":{"version":1,"sha256Hash":"aa"}}}', 'refused'], ['a document by its id', '{"documentId":"x"}', 'refused'], ['a persisted query by its hash', '{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"aa"}}}', 'refused'], ['a persisted query beside another', `{"query":"{ viewer }","extensions":{"persistedQuery":{"version":1,"sha256Hash":"${'a'.repeat(64)}"}}}`, 'refused'], ['an escaped mutation', '{"query":"\\u006dutation { pay }"}', 'denied'], ['a byte order mark', `${bom}${ask('mutation { pay }')}`, 'refused'], ['a byte order mark in the query', ask('\ufeffmutation { pay }'), 'denied'], ['UTF-16', [...`\ufeff${ask('{ viewer }')}`].map((c) => String.fromCharCode(c.charCodeAt(0) & 255, c.charCodeAt(0) >> 8)).join(''), 'refused'], ['bytes that are no UTF-8', '{"query":"{ viewer }\xff"}', 'refused'],
  ['a NUL in the query', ask('{ viewer\0 secrets }'), 'refused'], ['a schema', ask('type Query { viewer: Int }'), 'refused'], ['a schema extended', ask('{ viewer } extend type Query { x: Int }'), 'refused'], ['a name that is no letter', ask('{ v\u0456ewer }'), 'refused'], ['nothing', ask(''), 'refused'], ['only a comment', ask('# { viewer }'), 'refused'], ['empty braces', ask('{ }'), 'refused'], ['braces too many', ask('{ viewer } }'), 'refused'], ['nested beyond all bounds', ask('{ viewer'.repeat(3000) + '}'.repeat(3000)), 'refused'], ['nested lists beyond all bounds', ask(`{ viewer(x: ${'['.repeat(5000)}${']'.repeat(5000)}) }`), 'refused'],
  ['a query that is a number', '{"query":1}', 'refused'], ['JSON behind JSON', `${ask('{ viewer }')}${ask('mutation { pay }')}`, 'refused'], ['JSON with a comment', `/*x*/${ask('{ viewer }')}`, 'refused'], ['JSON with a comma too many', '{"query":"{ viewer }",}', 'refused'], ['JSON in single quotes', "{'query':'{ viewer }'}", 'refused'], ['a surrogate alone', '{"query":"{ viewer }","variables":{"\\ud800":1},"VARIABLES":{}}', 'refused'],
];

export const graphql: readonly Message[] = [
  { name: 'control: a query', body: ask('query q($a: Int = 1) { viewer { login } repository(id: $a) { id } }'), headers: json, expect: 'passes' },
  { name: 'control: a query by GET', method: 'GET', path: '/graphql?query=%7B%20viewer%20%7D', expect: 'passes' },
  { name: 'control: a batch of queries', body: `[${ask('{ viewer }')},${ask('{ repo_1: repos }')}]`, headers: json, expect: 'passes' },
  { name: 'control: a bare document', body: 'query { viewer }', headers: 'Content-Type: application/graphql\r\n', expect: 'passes' },
  ...queries.map(([name, body, expect]): Message => ({ name, body, headers: json, expect })),
  { name: 'a mutation by GET', method: 'GET', path: '/graphql?query=mutation%7Bpay%7D', expect: 'denied' },
  { name: 'a mutation in the URL, a query in the body', path: '/graphql?query=mutation%7Bpay%7D', body: ask('{ viewer }'), headers: json, expect: 'refused' },
  { name: 'two queries in the URL', method: 'GET', path: '/graphql?query=%7Bviewer%7D&query=mutation%7Bpay%7D', expect: 'refused' },
  { name: 'the query in capitals in the URL', method: 'GET', path: '/graphql?query=%7Bviewer%7D&Query=mutation%7Bpay%7D', expect: 'refused' },
  { name: 'a list of queries in the URL', method: 'GET', path: '/graphql?query[]=mutation%7Bpay%7D', expect: 'refused' },
  { name: 'a persisted query in the URL', method: 'GET', path: '/graphql?extensions=%7B%22persistedQuery%22%3A%7B%22sha256Hash%22%3A%22aa%22%7D%7D', expect: 'refused' },
  { name: 'a document id in the URL', method: 'GET', path: '/graphql?doc_id=1', expect: 'refused' },
  { name: 'the query in a long s in the URL', method: 'GET', path: '/graphql?query=%7Bviewer%7D&exten%C5%BFions=%7B%7D', expect: 'refused' },
  { name: 'control: a bare document that begins as JSON does', body: '{ viewer }', headers: 'Content-Type: application/graphql\r\n', expect: 'passes' },
  { name: 'another field in a bare document that begins as JSON does', body: '{ viewer secrets }', headers: 'Content-Type: application/graphql\r\n', expect: 'denied' },
  { name: 'a bare document that is JSON', body: ask('{ viewer }'), headers: 'Content-Type: application/graphql\r\n', expect: 'refused' },
  { name: 'a bare document that is a mutation', body: 'mutation { pay }', headers: 'Content-Type: application/graphql\r\n', expect: 'denied' },
  { name: 'an upload', body: `--b\r\nContent-Disposition: form-data; name="operations"\r\n\r\n${ask('mutation { pay }')}\r\n--b--\r\n`, headers: 'Content-Type: multipart/form-data; boundary=b\r\n', expect: 'refused' },
  { name: 'a form', body: 'query=mutation%7Bpay%7D', headers: 'Content-Type: application/x-www-form-urlencoded\r\n', expect: 'refused' },
  { name: 'plain text that is JSON', body: ask('mutation { pay }'), headers: 'Content-Type: text/plain\r\n', expect: 'refused' },
  { name: 'no type at all', body: ask('mutation { pay }'), headers: '', expect: 'refused' },
  { name: 'a character set that hides it', body: ask('{ viewer }'), headers: 'Content-Type: application/json; charset=utf-7\r\n', expect: 'refused' },
  { name: 'a content encoding that is none', body: ask('{ viewer }'), headers: `${json}Content-Encoding: rot13\r\n`, expect: 'refused' },
  { name: 'PUT', method: 'PUT', body: ask('{ viewer }'), headers: json, expect: 'refused' },
  { name: 'QUERY of another kind of body', method: 'DELETE', body: ask('mutation { pay }'), headers: json, expect: 'refused' },
];

const call = (tool: string, args: string, more = ''): string => `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"${tool}","arguments":${args}${more}}}`;
const calls: readonly (readonly [string, string, 'refused' | 'denied'])[] = [
  ['another tool', call('erase', '{}'), 'denied'], ['another method', '{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///etc/passwd"}}', 'denied'], ['the method in capitals', '{"jsonrpc":"2.0","id":1,"method":"TOOLS/CALL","params":{"name":"search","arguments":{"amount":1}}}', 'denied'], ['the method with a blank', '{"jsonrpc":"2.0","id":1,"method":"tools/call ","params":{"name":"erase"}}', 'denied'], ['the tool in capitals', call('SEARCH', '{"amount":1}'), 'denied'], ['too large an amount', call('pay', '{"amount":101}'), 'denied'], ['an amount as text', call('pay', '{"amount":"99"}'), 'denied'], ['an amount in a list beside another', call('pay', '{"amount":[1,101]}'), 'denied'], ['no amount', call('pay', '{}'), 'denied'],
  ['an amount in another place', call('pay', '{"x":{"amount":1}}'), 'denied'], ['an amount that is no number of JSON', call('pay', '{"amount":1e400}'), 'refused'], ['an amount that is rounded', call('pay', '{"amount":99.99999999999999999999}'), 'refused'], ['two amounts', call('pay', '{"amount":1,"amount":9999}'), 'refused'], ['two amounts, one escaped', call('pay', '{"amount":1,"\\u0061mount":9999}'), 'refused'], ['two amounts by case', call('pay', '{"amount":1,"Amount":9999}'), 'refused'], ['the tool twice', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","name":"erase","arguments":{"amount":1}}}', 'refused'], ['the tool twice by case', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","Name":"erase","arguments":{"amount":1}}}', 'refused'],
  ['the method twice', '{"jsonrpc":"2.0","id":1,"method":"ping","method":"resources/list"}', 'refused'], ['the method twice by case', '{"jsonrpc":"2.0","id":1,"method":"ping","Method":"resources/list"}', 'refused'], ['the arguments twice', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","arguments":{"amount":1},"arguments":{"amount":999}}}', 'refused'], ['the arguments twice by case', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","arguments":{"amount":1},"ARGUMENTS":{"amount":999}}}', 'refused'], ['the arguments twice by a long s', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","arguments":{"amount":1},"argument\xc5\xbf":{"amount":999}}}', 'refused'], ['the arguments by a long s alone', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","argument\xc5\xbf":{"amount":999}}}', 'refused'], ['an answer by a long s', '{"jsonrpc":"2.0","id":1,"method":"ping","re\xc5\xbfult":{}}', 'refused'], ['arguments that are text', call('pay', '"{\\"amount\\":1}"'), 'refused'], ['arguments that are a list', call('pay', '[{"amount":1}]'), 'refused'], ['params that are a list', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["erase",{}]}', 'refused'],
  ['no params', '{"jsonrpc":"2.0","id":1,"method":"tools/call"}', 'refused'], ['a tool that is a number', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":1}}', 'refused'], ['a tool without a name', call('', '{}'), 'refused'], ['a batch with a denied call', `[${call('search', '{"amount":1}')},${call('erase', '{}')}]`, 'denied'], ['a batch of nothing', '[]', 'refused'], ['a batch in a batch', `[[${call('erase', '{}')}]]`, 'refused'], ['a denied notification', '{"jsonrpc":"2.0","method":"resources/subscribe","params":{}}', 'denied'], ['an answer', '{"jsonrpc":"2.0","id":1,"result":{}}', 'denied'], ['a request and an answer at once', '{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}', 'refused'], ['version 1', '{"jsonrpc":"1.0","id":1,"method":"ping"}', 'refused'],
  ['no version', '{"id":1,"method":"ping"}', 'refused'], ['an id that is an object', '{"jsonrpc":"2.0","id":{},"method":"ping"}', 'refused'], ['a method that is a list', '{"jsonrpc":"2.0","id":1,"method":["ping"]}', 'refused'], ['a prototype', '{"jsonrpc":"2.0","id":1,"__proto__":{"method":"resources/list"}}', 'refused'], ['JSON behind JSON', '{"jsonrpc":"2.0","id":1,"method":"ping"}\n{"jsonrpc":"2.0","id":2,"method":"resources/list"}', 'refused'], ['a byte order mark', `${bom}{"jsonrpc":"2.0","id":1,"method":"ping"}`, 'refused'], ['bytes that are no UTF-8', '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"\xfe"}}', 'refused'], ['nested beyond all bounds', `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":${'['.repeat(100_000)}${']'.repeat(100_000)}}}`, 'refused'], ['a key twice far below', `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":[{"y":{"z":1,"z":2}}]}}`, 'refused'],
];

export const mcp: readonly Message[] = [
  { name: 'control: an allowed call', body: call('pay', '{"amount":100}'), headers: json, expect: 'passes' },
  { name: 'control: a batch', body: `[{"jsonrpc":"2.0","id":1,"method":"ping"},${call('search', '{"amount":0}')}]`, headers: json, expect: 'passes' },
  { name: 'control: a notification', body: '{"jsonrpc":"2.0","method":"notifications/initialized"}', headers: json, expect: 'passes' },
  { name: 'control: a session', body: '{"jsonrpc":"2.0","id":1,"method":"ping"}', headers: `${json}Mcp-Session-Id: s\r\nMcp-Method: ping\r\n`, expect: 'passes' },
  ...calls.map(([name, body, expect]): Message => ({ name, body, headers: json, expect })),
  { name: 'a header that names another method', body: '{"jsonrpc":"2.0","id":1,"method":"ping"}', headers: `${json}Mcp-Method: resources/list\r\n`, expect: 'refused' },
  { name: 'a header that names another tool', body: call('search', '{"amount":1}'), headers: `${json}Mcp-Name: erase\r\n`, expect: 'refused' },
  { name: 'a header that names another tool with underscores', body: call('search', '{"amount":1}'), headers: `${json}Mcp_Name: erase\r\n`, expect: 'refused' },
  { name: 'a type that is no JSON', body: call('search', '{"amount":1}'), headers: 'Content-Type: text/plain\r\n', expect: 'refused' },
  { name: 'a form', body: 'jsonrpc=2.0&method=resources/list', headers: 'Content-Type: application/x-www-form-urlencoded\r\n', expect: 'refused' },
  { name: 'a character set', body: call('search', '{"amount":1}'), headers: 'Content-Type: application/json; charset=utf-16\r\n', expect: 'refused' },
  { name: 'two types', body: call('search', '{"amount":1}'), headers: `${json}Content-Type: text/plain\r\n`, expect: 'refused' },
  { name: 'PUT', method: 'PUT', body: call('search', '{"amount":1}'), headers: json, expect: 'refused' },
  { name: 'a POST without a body', headers: json, expect: 'refused' },
];

const rpcs: readonly (readonly [string, string, 'refused' | 'denied'])[] = [
  ['another method', '{"jsonrpc":"2.0","id":1,"method":"eth_sendRawTransaction","params":["0x"]}', 'denied'], ['a batch with a denied call', '[{"jsonrpc":"2.0","id":1,"method":"eth_getBalance"},{"jsonrpc":"2.0","id":2,"method":"eth_sendTransaction"}]', 'denied'], ['the method escaped', '{"jsonrpc":"2.0","id":1,"method":"eth\\u005fsend"}', 'denied'], ['the method in capitals', '{"jsonrpc":"2.0","id":1,"method":"ETH_getBalance"}', 'denied'], ['the method with a NUL', '{"jsonrpc":"2.0","id":1,"method":"eth_send\\u0000eth_get"}', 'denied'], ['the method twice', '{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","method":"eth_send"}', 'refused'], ['the method twice by case', '{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","METHOD":"eth_send"}', 'refused'], ['a long s for an s', '{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","param\xc5\xbf":[]}', 'refused'],
  ['a denied notification', '{"jsonrpc":"2.0","method":"eth_sendTransaction"}', 'denied'], ['no version, another method', '{"id":1,"method":"eth_sendTransaction"}', 'denied'], ['version 3', '{"jsonrpc":"3.0","id":1,"method":"eth_getBalance"}', 'refused'], ['a method that is null', '{"jsonrpc":"2.0","id":1,"method":null}', 'refused'], ['no method', '{"jsonrpc":"2.0","id":1}', 'refused'], ['a text', '"eth_getBalance"', 'refused'], ['params that are text', '{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":"x"}', 'refused'], ['a batch beyond all bounds', `[${Array.from({ length: 101 }, () => '{"jsonrpc":"2.0","id":1,"method":"eth_getBalance"}').join()}]`, 'refused'], ['a method that is too long', `{"jsonrpc":"2.0","id":1,"method":"eth_get${'x'.repeat(300)}"}`, 'refused'], ['a body that is cut', '{"jsonrpc":"2.0","id":1,"method":"eth_getBalance"', 'refused'],
];
export const jsonRpc: readonly Message[] = [
  { name: 'control: an allowed call', body: '{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":[]}', headers: json, expect: 'passes' },
  { name: 'control: a batch', body: '[{"jsonrpc":"2.0","id":1,"method":"eth_getBalance"},{"id":2,"method":"eth_getCode"}]', headers: json, expect: 'passes' },
  ...rpcs.map(([name, body, expect]): Message => ({ name, body, headers: json, expect })),
  { name: 'by GET', method: 'GET', path: '/?method=eth_sendTransaction', expect: 'denied' },
  { name: 'a type that is no JSON', body: '{"jsonrpc":"2.0","id":1,"method":"eth_getBalance"}', headers: 'Content-Type: text/plain\r\n', expect: 'refused' },
];
