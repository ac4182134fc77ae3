/** What the READMEs show exists: commands, npm scripts, files they point to, and policies that load. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { approvalPolicySchema, networkPolicySchema, sandboxPolicySchema } from '@nemoclaw/contract';
import { paths, projectFolder, read } from './tree.ts';

const readmes = ['README.md', 'layers/openshell/README.md', 'layers/network-policy/README.md'].map(read);
const blocks = (text: string, language: string): string[] => [...text.matchAll(/^```(\w+)\n([^]*?)^```/gm)].filter((match) => match[1] === language).map((match) => match[2] ?? '');
const commands = readmes.flatMap(({ text }) => blocks(text, 'sh').flatMap((block) => block.split('\n'))).map((line) => line.replace(/\s*#.*$/, '').replace(/^sudo /, '').replace(/^npx /, '').split(/\s+/));

test('every command and npm script that a README shows exists', () => {
  const words = [...read('cli/src/command-words.ts').text.matchAll(/'([a-z]+)'/g)].map((match) => match[1]);
  const routes = read('cli/src/routes.ts').text + read('cli/src/sandbox-routes.ts').text;
  const layers: Readonly<Record<string, string>> = { openshell: read('layers/openshell/src/cli.ts').text, 'network-policy': read('layers/network-policy/src/cli.ts').text };
  const scripts: { scripts: Record<string, string> } = JSON.parse(read('package.json').text);
  let seen = 0;
  for (const [program = '', first = '', second = ''] of commands) {
    const help = layers[program];
    if (program === 'npm' && (first === 'run' || first === 'test')) assert.ok(Object.hasOwn(scripts.scripts, first === 'run' ? second : 'test'), `npm ${first} ${second}`);
    else if (help !== undefined) assert.match(help, new RegExp(`^ {2}${program} (.*\\| )?${first}\\b`, 'm'), [program, first].join(' '));
    else if (program === 'nemoclaw' || program === './nemoclaw') assert.match(routes, new RegExp(`^ {2,}${words.includes(first) || program === './nemoclaw' ? first : second}(: |,$)`, 'm'), [program, first, second].join(' '));
    else continue;
    seen += 1;
  }
  assert.ok(seen > 20, String(seen));
});

test('every file that a README or a page of docs points to exists', () => {
  const missing = [...readmes, ...paths(['.md'], 'docs').map(read), read('proof/SPECIFICATION.md')].flatMap(({ path, text }) =>
    [...text.matchAll(/\]\(([^):#]+)(?:#[^)]*)?\)/g)].map((match) => join(path, '..', match[1] ?? '')).filter((target) => !existsSync(join(projectFolder, target))).map((target) => `${path}: ${target}`));
  assert.deepEqual(missing, []);
});

test('every decision stands in their index, by its number and title, once', () => {
  const index = read('docs/decisions/README.md').text.split('\n').filter((line) => line.startsWith('| ['));
  const pages = paths(['.md'], 'docs/decisions').filter((path) => !path.endsWith('README.md')).sort().map((path) => {
    const [number = '', ...title] = (read(path).text.split('\n')[0] ?? '').replace('# ', '').split(' ');
    assert.ok(path.includes(`/${number}-`), path);
    return `| [${number}](${path.replace('docs/decisions/', '')}) | ${title.join(' ')} |`;
  });
  assert.deepEqual(index, pages);
  assert.equal(new Set(pages.map((line) => line.slice(0, 8))).size, pages.length);
});

test('every policy that a README shows loads', () => {
  const shown = readmes.flatMap(({ text }) => blocks(text, 'yaml')).map((text): unknown => parse(text));
  assert.ok(shown.length >= 5, String(shown.length));
  for (const policy of shown) {
    assert.ok(typeof policy === 'object' && policy !== null);
    if ('networkPolicy' in policy) networkPolicySchema.parse(policy);
    else if ('triggers' in policy) approvalPolicySchema.parse(policy);
    else sandboxPolicySchema.parse({ apiVersion: 'openshell.nvidia.com/v1', kind: 'SandboxPolicy', metadata: { name: 'shown' }, ...policy });
  }
});
