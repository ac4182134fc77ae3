import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { callRules } from './seccomp-calls.ts';
import { seccompFilter } from './seccomp-filter.ts';
import { callNumbers, lastCall } from './seccomp-numbers.ts';
import { compileFilter, type CallRule, type Instruction, type Outcome } from './seccomp-program.ts';

const x86 = 0xc000003e;
const outcomes = new Map<number, Outcome>([[0x7fff0000, 'allow'], [0x7fc00000, 'refuse'], [0x50001, 'deny'], [0x50026, 'absent'], [0x80000000, 'kill']]);

/** Runs a program as the kernel would on one call. */
function decide(program: readonly Instruction[], nr: number, args: readonly bigint[] = [], arch = x86): Outcome {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(nr >>> 0, 0);
  data.writeUInt32LE(arch, 4);
  args.forEach((value, i) => data.writeBigUInt64LE(BigInt.asUintN(64, value), 16 + i * 8));
  let a = 0;
  for (let pc = 0; pc < program.length; pc++) {
    const one = program[pc];
    assert.ok(one);
    assert.ok(one.jt >= 0 && one.jt <= 255 && one.jf >= 0 && one.jf <= 255, 'a jump fits in eight bits');
    if (one.code === 0x20) a = data.readUInt32LE(one.k);
    else if (one.code === 0x54) a = (a & one.k) >>> 0;
    else if (one.code === 0x05) pc += one.k;
    else if (one.code === 0x15) pc += a === one.k >>> 0 ? one.jt : one.jf;
    else if (one.code === 0x35) pc += a >= one.k >>> 0 ? one.jt : one.jf;
    else {
      assert.equal(one.code, 0x06);
      return outcomes.get(one.k) ?? assert.fail(`unknown result ${one.k}`);
    }
  }
  return assert.fail('ran off the end');
}

/** What a rule means, read directly. */
function meaning(rule: CallRule, args: readonly bigint[]): Outcome {
  if (typeof rule === 'string') return rule;
  const value = BigInt.asUintN(64, args[rule.arg] ?? 0n);
  const seen = rule.wide ? value : BigInt.asUintN(32, value) & BigInt((rule.mask ?? 0xffffffff) >>> 0);
  return meaning(rule.equals.some((e) => BigInt(e >>> 0) === seen) ? rule.then : rule.else, args);
}

const number = (name: string): number => callNumbers.get(name) ?? assert.fail(name);
const programOf = (level: 'minimal' | 'standard' | 'permissive'): Instruction[] => compileFilter(new Map([...callRules(level)].map(([name, rule]) => [number(name), rule])), 'refuse');

test('the program decides every call as the table says, for any arguments', () => {
  for (const level of ['minimal', 'standard', 'permissive'] as const) {
    const program = programOf(level);
    assert.ok(program.length < 4096);
    const rules = new Map([...callRules(level)].map(([name, rule]) => [number(name), rule]));
    const word = fc.oneof(fc.constantFrom(0n, 1n, 2n, 5n, 6n, 10n, 16n, 17n, 132n, 0o100n, 0o4755n, 0o644n, 0x5412n, 0x541cn, 0x10000000n, 0xffffffffn, 1n << 32n), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }));
    fc.assert(fc.property(fc.integer({ min: 0, max: lastCall }), fc.array(word, { minLength: 6, maxLength: 6 }), (nr, args) => {
      assert.equal(decide(program, nr, args), meaning(rules.get(nr) ?? 'refuse', args));
    }), { numRuns: 3000 });
    for (let nr = 0; nr <= lastCall; nr++) assert.equal(decide(program, nr), meaning(rules.get(nr) ?? 'refuse', []));
  }
});

test('other architectures are killed, x32 and unknown calls do not exist', () => {
  const program = programOf('standard');
  assert.equal(decide(program, number('getpid'), [], 0x40000003), 'kill');
  assert.equal(decide(program, 0x40000000 | number('getpid')), 'absent');
  assert.equal(decide(program, 0xffffffff), 'absent');
  assert.equal(decide(program, lastCall + 1), 'absent');
});

test('what matters most is refused at every level', () => {
  for (const level of ['minimal', 'standard', 'permissive'] as const) {
    const program = programOf(level);
    for (const name of ['mount', 'umount2', 'move_mount', 'fsopen', 'open_tree', 'mount_setattr', 'pivot_root', 'chroot', 'setns', 'bpf', 'perf_event_open', 'keyctl', 'add_key', 'request_key', 'init_module', 'finit_module', 'kexec_load', 'iopl', 'ioperm', 'modify_ldt', 'reboot', 'swapon', 'acct', 'quotactl', 'settimeofday', 'clock_settime', 'sethostname', 'open_by_handle_at', 'fanotify_init', 'userfaultfd', 'syslog', 'pidfd_getfd']) {
      assert.equal(decide(program, number(name)), 'refuse', name);
    }
    assert.equal(decide(program, number('clone'), [0x10000000n | 17n]), 'refuse', 'clone into a user namespace');
    assert.equal(decide(program, number('unshare'), [0x80n]), 'refuse', 'a time namespace');
    assert.equal(decide(program, number('socket'), [17n, 3n, 0n]), 'refuse', 'packet sockets');
    assert.equal(decide(program, number('socket'), [2n, 1n, 262n]), 'refuse', 'MPTCP');
    assert.equal(decide(program, number('socket'), [2n, 1n | 0o2004000n, 6n]), 'allow', 'TCP with flags');
    assert.equal(decide(program, number('fchmodat'), [0n, 0n, 0o4755n]), 'refuse', 'set-uid');
    assert.equal(decide(program, number('openat'), [0n, 0n, 0o101n, 0o2755n]), 'refuse', 'a new set-gid file');
    assert.equal(decide(program, number('openat'), [0n, 0n, 0n, 0o7777n]), 'allow', 'the mode is not read without O_CREAT');
    assert.equal(decide(program, number('ioctl'), [0n, 0x5412n | (1n << 40n)]), 'refuse', 'TIOCSTI; the kernel reads 32 bits');
    assert.equal(decide(program, number('prlimit64'), [1n, 7n, 4096n]), 'refuse', 'limits of init');
  }
});

test('a policy may add what standard has and take away what init does not need', () => {
  const base = { level: 'minimal', allow: [], deny: [], removalsAsked: false } as const;
  assert.notEqual(seccompFilter({ ...base, allow: ['ptrace'] }), seccompFilter(base));
  assert.notEqual(seccompFilter({ ...base, deny: ['link'] }), seccompFilter(base));
  for (const bad of [{ allow: ['mount'] }, { allow: ['nonsense'] }, { deny: ['execve'] }, { deny: ['nonsense'] }]) {
    assert.throws(() => seccompFilter({ ...base, ...bad }), { code: 'NEMO_E_PLAN_SYSCALL' });
  }
});
