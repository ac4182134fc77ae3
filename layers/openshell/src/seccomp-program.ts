/** Compiles "what happens to which system call" into a seccomp (classic BPF) program: a binary search by number, argument tests at the leaves. */
import { auditArch, lastCall } from './seccomp-numbers.ts';

/** `refuse`: the shim answers (EPERM, and it is on record). `absent`: ENOSYS, so that libraries fall back. `unsupported`: EOPNOTSUPP, likewise. */
export type Outcome = 'allow' | 'refuse' | 'deny' | 'absent' | 'unsupported' | 'kill';
/** Tests one argument: `(argument & mask)` is one of `equals`. `wide` compares all 64 bits (pointers), else the low 32, which is all the kernel reads of an int. */
export interface ArgumentTest {
  readonly arg: number;
  readonly mask?: number;
  readonly wide?: boolean;
  readonly equals: readonly number[];
  readonly then: CallRule;
  readonly else: CallRule;
}
export type CallRule = Outcome | ArgumentTest;

export interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

const LD_ABS = 0x20, AND_K = 0x54, JA = 0x05, JEQ = 0x15, JGE = 0x35, RET = 0x06;
const results: Readonly<Record<Outcome, number>> = {
  allow: 0x7fff0000,
  refuse: 0x7fc00000, // SECCOMP_RET_USER_NOTIF
  deny: 0x00050000 | 1, // EPERM at once, off the record
  absent: 0x00050000 | 38, // ENOSYS
  unsupported: 0x00050000 | 95, // EOPNOTSUPP
  kill: 0x80000000,
};

const load = (offset: number): Instruction => ({ code: LD_ABS, jt: 0, jf: 0, k: offset });
const give = (outcome: Outcome): Instruction => ({ code: RET, jt: 0, jf: 0, k: results[outcome] });

function leaf(rule: CallRule): Instruction[] {
  if (typeof rule === 'string') return [give(rule)];
  const yes = leaf(rule.then);
  const no = leaf(rule.else);
  const low = 16 + rule.arg * 8;
  const test: Instruction[] = [];
  // Each comparison jumps over what follows it: the other comparisons and the `no` part.
  if (rule.wide) {
    if (rule.equals.length !== 1 || rule.equals[0] !== 0) throw new RangeError('a wide argument can only be compared with 0');
    test.push(load(low + 4), { code: JEQ, jt: 0, jf: 2, k: 0 }, load(low), { code: JEQ, jt: no.length, jf: 0, k: 0 });
  } else {
    test.push(load(low));
    if (rule.mask !== undefined) test.push({ code: AND_K, jt: 0, jf: 0, k: rule.mask });
    rule.equals.forEach((value, i) => test.push({ code: JEQ, jt: rule.equals.length - 1 - i + no.length, jf: 0, k: value }));
  }
  return [...test, ...no, ...yes];
}

interface Range {
  readonly from: number;
  readonly rule: CallRule;
}

/** Below `pivot` comes first; a jump too long for eight bits goes through a JA. */
function search(ranges: readonly Range[]): Instruction[] {
  const [only] = ranges;
  if (only === undefined) throw new RangeError('no system calls');
  if (ranges.length === 1) return leaf(only.rule);
  const middle = ranges.length >> 1;
  const low = search(ranges.slice(0, middle));
  const high = search(ranges.slice(middle));
  const pivot = ranges[middle]?.from ?? 0;
  const jump: Instruction[] = low.length <= 255 ? [{ code: JGE, jt: low.length, jf: 0, k: pivot }] : [{ code: JGE, jt: 0, jf: 1, k: pivot }, { code: JA, jt: 0, jf: 0, k: low.length }];
  return [...jump, ...low, ...high];
}

/** The whole program. `rules` by call number; numbers without a rule get `otherwise`, those above `lastCall` are absent. */
export function compileFilter(rules: ReadonlyMap<number, CallRule>, otherwise: CallRule): Instruction[] {
  const ranges: Range[] = [];
  for (let nr = 0; nr <= lastCall + 1; nr++) {
    const rule: CallRule = nr > lastCall ? 'absent' : (rules.get(nr) ?? otherwise);
    if (ranges.at(-1)?.rule !== rule) ranges.push({ from: nr, rule });
  }
  // seccomp_data: nr at 0, arch at 4. Another architecture's numbers mean other calls: kill. The x32 bit is above every number of the table.
  return [load(4), { code: JEQ, jt: 1, jf: 0, k: auditArch }, give('kill'), load(0), ...search(ranges)];
}

/** struct sock_filter[] as lower-case hex, little endian. */
export function encodeFilter(program: readonly Instruction[]): string {
  const bytes = Buffer.alloc(program.length * 8);
  program.forEach((one, i) => {
    bytes.writeUInt16LE(one.code, i * 8);
    bytes.writeUInt8(one.jt, i * 8 + 2);
    bytes.writeUInt8(one.jf, i * 8 + 3);
    bytes.writeUInt32LE(one.k >>> 0, i * 8 + 4);
  });
  return bytes.toString('hex');
}
