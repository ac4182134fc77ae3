/** Tier A in the real thing: openshelld loads the program, and a sandbox is decided by it. */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadSandboxPolicy, type Approver, type HoldRequest } from '@nemoclaw/contract';
import { createSandbox } from '@nemoclaw/openshell';
import './kept.ts';

const policy = (spec: string) => loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: lsm }\nspec: { isolation: { network: none, filesystem: workspace }, ${spec} }\n`, 'lsm.yaml');

function folder(): string {
  const path = mkdtempSync('/tmp/lsm-');
  for (const name of ['a', 'ro', 'secret']) {
    mkdirSync(join(path, name));
    writeFileSync(join(path, name, 'file'), name);
    chownSync(join(path, name), 1000, 1000);
    chownSync(join(path, name, 'file'), 1000, 1000);
  }
  writeFileSync(join(path, 'ro/say'), '#!/usr/bin/printf hello\n');
  chmodSync(join(path, 'ro/say'), 0o755);
  chownSync(path, 1000, 1000);
  return path;
}

test('a policy that requires tier A starts, and the kernel decides beside the other layers', { timeout: 400_000 }, async () => {
  const workspace = folder();
  try {
    await using sandbox = await createSandbox(policy('requires: [tier-a], filesystem: { readOnly: [/workspace/ro/**], deny: [/workspace/secret/**] }'), { workspace });
    assert.equal(sandbox.tier, 'A');
    const run = async (line: string) => {
      const command = await sandbox.exec(['/bin/sh', '-c', line]);
      return command.output();
    };
    const seen = await run('cat /workspace/ro/file; echo x > /workspace/a/new && mv /workspace/a/new /workspace/a/other && rm /workspace/a/other && echo done; cat /workspace/secret/file; echo y > /workspace/ro/file; rm -f /workspace/ro/file; ls /workspace; touch /workspace/.envrc; mkdir /workspace/a/.vscode; mkdir -p /workspace/node_modules/x/.vscode && echo free; echo end');
    assert.match(seen.stdout, /^rodone\n/);
    assert.match(seen.stdout, /free\nend\n$/);
    assert.match(seen.stderr, /\.envrc.*Operation not permitted/);
    assert.match(seen.stderr, /\.vscode.*Operation not permitted/);
  } finally {
    rmSync(workspace, { recursive: true, force: true });
  }
});

/** `-`: works, as with no protection. What git does by itself goes on; what would be started for the owner cannot be made, carried in with a folder, or put behind a link. */
const atNames = [
  '- git init -q fresh && test -f fresh/.git/hooks/pre-commit.sample', '- git -C fresh -c user.email=a@b -c user.name=a commit -q --allow-empty -m one', '- git -C fresh worktree add -q ../tree -b other', '- git clone -q fresh copy', '- git -C fresh gc -q',
  'touch fresh/.git/hooks/pre-commit', 'mv fresh/.git/hooks/pre-commit.sample fresh/.git/hooks/pre-commit', 'ln fresh/.git/hooks/pre-commit.sample fresh/.git/hooks/post-checkout', 'ln -s ../../x fresh/.git/hooks/post-commit', 'mkdir -p fresh/.git/modules/m/hooks && touch fresh/.git/modules/m/hooks/post-merge',
  '- mkdir -p kit/hooks made && touch kit/hooks/pre-commit', 'mv kit fresh/.git/modules/k', 'mv kit/hooks fresh/.git/own', 'mv kit made/.git', 'ln -s ../kit made/.git', 'mv fresh/.git fresh/moved', 'rm -rf fresh/.git/hooks; ln -s ../../kit/hooks fresh/.git/hooks',
  '- mkdir .github && touch .github/CODEOWNERS', 'mkdir .github/workflows', '- mkdir -p flows/workflows', 'mv flows/workflows .github/workflows', 'ln -s flows .github/workflows', 'mv .github moved', '- mkdir sub && touch sub/.npmrc', 'touch .npmrc', 'mv sub/.npmrc .npmrc', 'ln -s sub/.npmrc .bashrc',
  'mkdir -p sub/.config/mise', 'ln -s ../kit sub/.vscode', '- mkdir src && mkdir src/hooks && touch src/hooks/update && mv src/hooks src/uses',
];

test('protected names that are not there yet cannot be made in any way, and git goes on working', { timeout: 400_000 }, async () => {
  const workspace = folder();
  try {
    await using sandbox = await createSandbox(policy('requires: [tier-a]'), { workspace });
    const lines = atNames.map((line, i) => `(${line.replace(/^- /, '')}) >/tmp/said 2>&1 && echo "${i} 0" || echo "${i} 1 $(head -c 200 /tmp/said | tr '\n' ' ')"`);
    const { stdout } = await (await sandbox.exec(['/bin/sh', '-c', `export HOME=/tmp; cd /workspace\n${lines.join('\n')}`])).output();
    const ended = stdout.trim().split('\n');
    atNames.forEach((line, i) => assert.equal(ended[i]?.split(' ')[1], line.startsWith('- ') ? '0' : '1', `${line}: ${ended[i]}`));
  } finally {
    rmSync(workspace, { recursive: true, force: true });
  }
});

/** Answers every question by `verdict`, and remembers them. */
function answering(verdict: 'allow' | 'deny' | 'never', asked: string[]): Approver {
  return {
    ask: async (request: HoldRequest) => {
      const { resource } = request.request;
      asked.push(resource.kind === 'file' ? `${resource.op} ${resource.path}${resource.toPath === undefined ? '' : ` -> ${resource.toPath}`}` : resource.kind);
      if (verdict === 'never') return new Promise(() => undefined);
      return { verdict, approvalId: request.holdId, by: 'test', reason: '' };
    },
    consumeGrant: async () => false,
    pending: () => undefined,
  };
}

const everything = 'filesystem: { escalate: [{ path: /workspace/a/**, on: [delete, rename, write, create, read] }, { path: /workspace/ro/say, on: [exec] }] }, process: { exec: { escalate: [/usr/bin/printf] } }';
const attempts = [
  ['cat /workspace/a/file', 'read /workspace/a/file'],
  ['echo x >> /workspace/a/file', 'write /workspace/a/file'],
  ['chmod 600 /workspace/a/file', 'write /workspace/a/file'],
  ['truncate -s 1 /workspace/a/file', 'write /workspace/a/file'],
  ['mkdir /workspace/a/made', 'create /workspace/a/made'],
  ['mv /workspace/a/file /workspace/ro/moved', 'rename /workspace/a/file -> /workspace/ro/moved'],
  ['rmdir /workspace/a/made', 'delete /workspace/a/made'],
  ['/usr/bin/printf hello', 'exec /usr/bin/printf'],
  // Its interpreter is asked about by the same call.
  ['/workspace/ro/say', 'exec /workspace/ro/say'],
  ['touch /workspace/a/new', 'create /workspace/a/new'],
] as const;

for (const verdict of ['allow', 'deny'] as const) {
  test(`every operation is asked about, and ${verdict === 'allow' ? 'approved it is done' : 'denied it is not'}`, { timeout: 400_000 }, async () => {
    const workspace = folder();
    if (verdict === 'deny') mkdirSync(join(workspace, 'a/made'));
    const asked: string[] = [];
    try {
      await using sandbox = await createSandbox(policy(everything), { workspace, approver: answering(verdict, asked) });
      for (const [line, question] of attempts) {
        if (verdict === 'deny' && line.startsWith('mkdir')) continue;
        asked.length = 0;
        const command = await sandbox.exec(['/bin/sh', '-c', `${line}; echo "code $?"`]);
        const { stdout, stderr } = await command.output();
        assert.ok(asked.includes(question), `${line}: asked ${asked.join(', ')}`);
        assert.equal(/code 0/.test(stdout), verdict === 'allow', `${line}: ${stdout} ${stderr}`);
      }
    } finally {
      rmSync(workspace, { recursive: true, force: true });
    }
  });
}
