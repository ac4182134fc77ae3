/** Every level is documented, adds something, holds no redundant entry, and real work runs in it. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { before, test } from 'node:test';
import { filesystemLevels, networkLevels, syscallLevels } from '@nemoclaw/contract';
import { trial } from './launch-trial.ts';
import { levels } from './levels.ts';
import { buildNative } from './native-build.ts';
import { absentCalls, callGroups, callRules, testedCalls } from './seccomp-calls.ts';
import { callNumbers } from './seccomp-numbers.ts';

const root = process.getuid?.() === 0 ? {} : { skip: 'needs root' };
const words = (text: string): string[] => text.trim().split(/\s+/);
before(() => buildNative('openshell-launch'));

test('every level says what it means and why there is one, and no two say the same', () => {
  for (const [kind, names] of [['network', networkLevels], ['filesystem', filesystemLevels], ['syscalls', syscallLevels]] as const) {
    const table: Readonly<Record<string, { means: string; why: string }>> = levels[kind];
    assert.deepEqual(Object.keys(table).sort(), [...names].sort());
    assert.equal(new Set(Object.values(table).map((one) => one.means)).size, names.length);
    for (const { means, why } of Object.values(table)) assert.ok(means.length > 20 && why.length > 20);
  }
});

test('no entry of a system call level is redundant', () => {
  const seen = new Map<string, string>();
  for (const { level, name, why, calls } of callGroups) {
    assert.ok(why.length > 20, name);
    for (const call of words(calls)) {
      assert.equal(seen.get(call), undefined, `${call} stands in two groups`);
      seen.set(call, `${level}: ${name}`);
      assert.ok(callNumbers.has(call), `${call} is no system call`);
      for (const list of Object.values(testedCalls)) assert.ok(!list.includes(call), `${call} is decided by an argument; its entry in ${name} does nothing`);
      if (level !== 'permissive') assert.ok(!absentCalls.includes(call), `${call} is absent and allowed`);
    }
  }
  assert.equal(new Set(absentCalls).size, absentCalls.length);
  assert.equal(new Set(callGroups.map((one) => one.name)).size, callGroups.length);
});

test('every level adds to the one before, and takes nothing away', () => {
  for (const [i, level] of syscallLevels.entries()) {
    const lower = syscallLevels[i - 1];
    if (lower === undefined) continue;
    const below = callRules(lower), here = callRules(level);
    for (const [name, rule] of below) if (rule !== 'absent') assert.ok(here.has(name) && here.get(name) !== 'absent', name);
    for (const group of callGroups.filter((one) => one.level === level)) for (const call of words(group.calls)) assert.ok(below.get(call) === undefined || below.get(call) === 'absent', `${call}: ${lower} has it already`);
    assert.ok(callGroups.some((one) => one.level === level));
  }
});

test('real work runs at every level: shell, node, python, git, gcc', { ...root, timeout: 120_000 }, async () => {
  const python = existsSync('/usr/bin/python3') ? `/usr/bin/python3 -c 'import subprocess, threading, json; t = threading.Thread(target=lambda: None); t.start(); t.join(); print("python", subprocess.run(["/usr/bin/echo", "child"], capture_output=True, text=True).stdout.strip())'` : 'echo python child';
  const work = `cd "$DIR" && mkdir p && cd p && git init -q . 2>/dev/null; git -c user.name=a -c user.email=a@b commit -q --allow-empty -m one && git log --format=%s;
    printf 'int puts(const char*); int main(void) { puts("gcc"); return 0; }' > a.c && gcc -o a a.c && ./a; ${python};
    node -e 'const fs = require("fs"); fs.writeFileSync("n", "node"); new (require("worker_threads").Worker)("require(\\"worker_threads\\").parentPort.postMessage(1)", { eval: true }).on("message", () => console.log(fs.readFileSync("n", "utf8")))'`;
  for (const syscalls of syscallLevels) {
    for (const [network, filesystem, dir] of [['none', 'read-only', '/tmp'], ['restricted', 'workspace', '/workspace'], ['open', 'ephemeral', '/workspace']] as const) {
      const t = trial(`isolation: { network: ${network}, filesystem: ${filesystem}, syscalls: ${syscalls} }`);
      try {
        const result = await t.run(['/bin/sh', '-c', `DIR=${dir}; ${work}`]);
        assert.equal(result.stdout, 'one\ngcc\npython child\nnode\n', `${network} ${filesystem} ${syscalls}: ${result.stderr}`);
      } finally {
        t.remove();
      }
    }
  }
});
