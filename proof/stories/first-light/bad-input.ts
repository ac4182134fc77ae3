/** Policies with a mistake: each gives one clear error with its place, and changes nothing. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Checks } from '../../harness/checks.ts';
import { checkout, run, type Instance, type Result } from '../../harness/instance.ts';
import { Company } from './company.ts';
import { Terminal } from './terminal.ts';

interface Mistake {
  readonly what: string;
  /** File of the blueprint, and what is written there in place of what. */
  readonly file: 'sandbox.yaml' | 'network.yaml' | 'approvals.yaml';
  readonly right: string;
  readonly wrong: string;
  /** Text at which the error must point. */
  readonly at: string;
  readonly code: string;
}

const mistakes: readonly Mistake[] = [
  { what: 'an unknown field', file: 'sandbox.yaml', right: '  permissions:', wrong: '  permisions:', at: 'permisions', code: 'NEMO_E_POLICY_UNKNOWN_FIELD' },
  { what: 'a value of the wrong type', file: 'sandbox.yaml', right: 'maxPids: 128', wrong: 'maxPids: many', at: 'many', code: 'NEMO_E_POLICY_TYPE' },
  { what: 'a file pattern that no kernel can decide', file: 'sandbox.yaml', right: '- path: /workspace/prod/**', wrong: '- path: /workspace/*/prod', at: '/workspace/*/prod', code: 'NEMO_E_POLICY_PATTERN' },
  { what: 'a file pattern that is too wide', file: 'sandbox.yaml', right: '- path: /workspace/prod/**', wrong: '- path: /**', at: '/**', code: 'NEMO_E_POLICY_PATTERN' },
  { what: 'a domain that is too wide', file: 'network.yaml', right: 'news.desk.example', wrong: '"*.com"', at: '"*.com"', code: 'NEMO_E_POLICY_PATTERN' },
  { what: 'an action that is too wide', file: 'sandbox.yaml', right: '[email.send, order.change, page.read]', wrong: '["*"]', at: '"*"', code: 'NEMO_E_POLICY_PATTERN' },
  { what: 'a need for tier A', file: 'sandbox.yaml', right: 'spec:\n', wrong: 'spec:\n  requires: [tier-a]\n', at: 'tier-a', code: 'NEMO_E_POLICY_NEEDS' },
  { what: 'an unknown audit destination', file: 'sandbox.yaml', right: 'siem://security-events', wrong: 'siem://elsewhere', at: 'siem://elsewhere', code: 'NEMO_E_POLICY_SINK' },
  { what: 'a syntax error', file: 'network.yaml', right: 'methods: [POST]', wrong: 'methods: [POST', at: '', code: 'NEMO_E_POLICY_YAML' },
  { what: 'an unknown channel', file: 'approvals.yaml', right: '[terminal]', wrong: '[terminal, pager]', at: 'pager', code: 'NEMO_E_POLICY_CHANNEL' },
];

export async function badInput(instance: Instance, check: Checks): Promise<void> {
  const company = await Company.open('desk.example');
  const terminal = new Terminal(instance);
  const folder = join(instance.root, 'mistakes');
  try {
    company.installBlueprint(instance, 'desk', 'desk');
    await terminal.make('desk', company);
    mkdirSync(folder);
    check.section('policies with a mistake');
    const before = await terminal.json<{ version: number }>(['policy', 'get', 'desk']);
    for (const [index, mistake] of mistakes.entries()) await check.step(mistake.what, () => wrong(instance, check, terminal, folder, mistake, index));
    const after = await terminal.json<{ version: number }>(['policy', 'get', 'desk']);
    check.that('after all of it the policy in force is the same, to the letter and the version', before.version === 1 && JSON.stringify(after) === JSON.stringify(before), after);

    company.installBlueprint(instance, 'desk', 'broken', [['  permissions:', '  permisions:']]);
    const refused = await terminal.make('broken', company).then(() => 'it was made', (error: unknown) => String(error));
    check.that('a blueprint with a mistake makes no sandbox, and leaves no workspace', /sandbox\.yaml:\d+:\d+[^]*NEMO_E_POLICY_UNKNOWN_FIELD/.test(refused) && !existsSync(join(instance.root, 'workspaces/broken')), refused);

    const good = join(folder, 'good.yaml');
    writeFileSync(good, readFileSync(join(instance.state, 'blueprints/desk/sandbox.yaml')));
    const started = await openshell(good);
    check.that('without a mistake the same file runs a command', started.code === 0 && started.out === 'started\n', started.err);
    const nothing = await terminal.run(['policy', 'set', 'desk', join(folder, 'none.yaml')]);
    check.that('a file that is not there is named', nothing.code === 2 && nothing.err.includes('none.yaml'), nothing.err);
  } finally {
    rmSync(folder, { recursive: true, force: true });
    for (const name of ['desk', 'broken']) await terminal.unmake(name);
    await company.close();
  }
}

async function wrong(instance: Instance, check: Checks, terminal: Terminal, folder: string, mistake: Mistake, index: number): Promise<void> {
  const source = readFileSync(join(instance.state, 'blueprints/desk', mistake.file), 'utf8');
  const text = source.replace(mistake.right, mistake.wrong);
  if (text === source) throw new Error(`${mistake.file} has no ${mistake.right}`);
  const file = join(folder, `mistake-${index}.yaml`);
  writeFileSync(file, text);
  const told: [string, Result][] = [['policy validate', await terminal.run(['policy', 'validate', file])], ['policy set', await terminal.run(['policy', 'set', 'desk', file])]];
  if (mistake.file === 'sandbox.yaml') told.push(['openshell run', await openshell(file)]);
  const problems = told.flatMap(([by, result]) => complaints(result, file, text, mistake).map((problem) => `${by}: ${problem}`));
  // past the command line, which looks before it asks
  const asked = await terminal.api('PUT', '/v1/sandboxes/desk/policy', { files: { [mistake.file]: text } }).then(() => 'it was taken', (error: unknown) => (error instanceof Error ? error.message : String(error)));
  if (!asked.includes(` 4`) || !asked.includes(`"${mistake.code}"`) || !asked.includes('"line":')) problems.push(`gateway: ${asked}`);
  check.that(`${mistake.what}: told at its place by the gateway, ${told.map(([by]) => by).join(', ')}`, problems.length === 0, problems.join('\n'));
}

/** What is not as it should be about the error that was told. */
function complaints(result: Result, file: string, text: string, mistake: Mistake): string[] {
  const lines = result.err.trimEnd().split('\n');
  const problems: string[] = [];
  if (result.code !== 2 || result.out !== '') problems.push(`exit ${result.code}, printed ${JSON.stringify(result.out)}`);
  if (lines.filter((line) => line.startsWith('error: ')).length !== 1) problems.push('not one error');
  const place = /^ +at: +(.*):(\d+):(\d+)$/m.exec(result.err);
  const there = text.split('\n')[Number(place?.[2] ?? 0) - 1]?.slice(Number(place?.[3] ?? 0) - 1);
  if (place?.[1] !== file || there === undefined || !there.startsWith(mistake.at)) problems.push(`it points to ${place?.slice(1).join(':') ?? 'nothing'}, where ${JSON.stringify(there ?? '')} stands`);
  if (!lines.some((line) => /^ +fix: \S/.test(line))) problems.push('no fix');
  if (!lines.includes(`  code: ${mistake.code}`)) problems.push(`not the code ${mistake.code}`);
  return problems.length === 0 ? [] : [...problems, result.err];
}

function openshell(policy: string): Promise<Result> {
  return run(process.execPath, [join(checkout, 'layers/openshell/bin/openshell.js'), 'run', '--policy', policy, '--no-workspace', '--', '/bin/echo', 'started'], { timeoutMs: 30_000 });
}
