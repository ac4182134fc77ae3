/** Numbers that are no cards, as services really send them: one text of each shape from a seed. */
import { luhn } from './checks.ts';
import { Random } from './random.ts';

type Make = (r: Random) => string;

/** 1 to 2^63 - 1 by its digits, none of them more likely than another. */
const int64: Make = (r) => `${1 + r.below(8)}${r.digits(18)}`;
const wide: Make = (r) => `${1 + r.below(9)}${r.digits(13 + r.below(6))}`;
const hex = (r: Random, n: number): string => r.of('0123456789abcdef', n);

/** Type allocation code, serial number, Luhn digit (3GPP TS 23.003): each of them passes Luhn. */
const imei: Make = (r) => {
  const body = `${r.pick(['35', '86', '01', '99'])}${r.digits(12)}`;
  for (let last = 0; ; last += 1) if (luhn(body + last)) return body + last;
};

/** By what they are; the digits are any that such a number may have. */
export const idShapes: Readonly<Record<string, Make>> = {
  'JSON id': (r) => `{"type":"message","id":${wide(r)},"text":"hello there"}`,
  'JSON id in quotes': (r) => `{"ok": true, "user_id": "${wide(r)}", "name": "kim"}`,
  'JSON name in camel case': (r) => `{"amount":12,"parentId":"${wide(r)}","open":true}`,
  'JSON list of ids': (r) => `{"message_ids":[${Array.from({ length: 20 }, () => wide(r)).join(',')}]}`,
  'chat snowflakes': (r) => `{"channel_id":"${1 + r.below(9)}${r.digits(17)}","guild_id":"${1 + r.below(9)}${r.digits(16)}"}`,
  'post in a URL': (r) => `see https://social.example/kim/status/${int64(r)} for it`,
  'path of a request': (r) => `/api/1.0/tasks/${wide(r)}/subtasks?limit=10`,
  'query of a request': (r) => `limit=10\nthread_id=${wide(r)}`,
  'issue of an error tracker': (r) => `https://acme.errors.example/organizations/acme/issues/${wide(r)}/?project=${wide(r)}`,
  'trace in a log line': (r) => `level=info msg="done" dd.trace_id=${int64(r)} dd.span_id=${int64(r)}`,
  'trace header': (r) => `x-datadog-trace-id: ${int64(r)}`,
  'order in prose': (r) => `Order ${wide(r)} was shipped, order number ${wide(r)} was not.`,
  'tracking number': (r) => `Tracking no. ${r.pick(['94', '92', '61', '79'])}${r.digits(10 + r.below(11))}, due on Friday`,
  'timestamp in nanoseconds': (r) => `{"at":17${r.digits(17)},"took":${r.digits(6)}}`,
  'timestamp in microseconds': (r) => `17${r.digits(14)} worker started`,
  'IMEI without a word': (r) => `device ${imei(r)} is online`,
  'SIM card': (r) => `iccid 8949${r.digits(15)}`,
  'offset and sequence': (r) => `{"seq":${wide(r)},"offset":${wide(r)},"nonce":"${wide(r)}"}`,
  'condition of a query': (r) => `name = 'kim' AND id = ${wide(r)} OR parent_id IN (${wide(r)}, ${wide(r)})`,
  'UUID': (r) => `${hex(r, 8)}-${hex(r, 4)}-4${hex(r, 3)}-a${hex(r, 3)}-${hex(r, 12)}`,
  'hash': (r) => hex(r, 40),
};
