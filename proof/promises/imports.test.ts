/** Who may import whom: the one table, checked in every file and against every package.json. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSync } from 'oxc-parser';
import { paths, read, type SourceFile } from './tree.ts';

const layers = ['openshell', 'privacy-router', 'network-policy', 'policy-engine'];
const base = ['contract', 'decide', 'detect'];

/** Room -> rooms it may import. The only copy of this table. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  contract: [],
  decide: ['contract'],
  detect: ['contract'],
  ledger: base,
  ...Object.fromEntries(layers.map((layer) => [layer, [...base, 'ledger']])),
  gateway: [...base, 'ledger', ...layers],
  cli: ['contract'],
};
const folderOf = (room: string): string => (layers.includes(room) ? `layers/${room}` : room);

function specifiers(file: SourceFile): string[] {
  const { module, errors } = parseSync(file.path, file.text);
  assert.deepEqual(
    errors.map((e) => e.message),
    [],
    `${file.path} parses`,
  );
  const dynamic = module.dynamicImports.map((i) => file.text.slice(i.moduleRequest.start, i.moduleRequest.end).replace(/^['"`]|['"`]$/g, ''));
  const exported = module.staticExports.flatMap((e) => e.entries.flatMap((entry) => (entry.moduleRequest ? [entry.moduleRequest.value] : [])));
  return [...module.staticImports.map((i) => i.moduleRequest.value), ...exported, ...dynamic];
}

for (const [room, mayImport] of Object.entries(allowed)) {
  const folder = folderOf(room);
  test(`${folder} imports only ${mayImport.join(', ') || 'nothing of ours'}`, () => {
    const files = paths(['.ts'], folder);
    assert.ok(files.length > 0, `files were read in ${folder}`);
    const wrong: string[] = [];
    for (const path of files) {
      for (const specifier of specifiers(read(path))) {
        const ours = /^@nemoclaw\/([^/]+)(\/.*)?$/.exec(specifier);
        if (ours && ours[2]) wrong.push(`${path}: ${specifier} goes past the door`);
        else if (ours?.[1] && ours[1] !== room && !mayImport.includes(ours[1])) wrong.push(`${path}: ${specifier}`);
        if (specifier.startsWith('.') && !new URL(specifier, `file:///${path}`).pathname.startsWith(`/${folder}/`)) wrong.push(`${path}: ${specifier} leaves the room`);
      }
    }
    assert.deepEqual(wrong, []);
  });

  test(`${folder}/package.json depends on no other room than the table allows, and on exactly the packages it imports`, () => {
    const manifest: { dependencies?: Record<string, string> } = JSON.parse(read(`${folder}/package.json`).text);
    const declared = Object.keys(manifest.dependencies ?? {});
    const rooms = declared.filter((name) => name.startsWith('@nemoclaw/')).map((name) => name.slice('@nemoclaw/'.length));
    assert.deepEqual(
      rooms.filter((name) => !mayImport.includes(name)),
      [],
    );
    const undeclared = new Set<string>();
    for (const path of paths(['.ts'], folder).filter((p) => !p.endsWith('.test.ts') && !p.endsWith('bench.ts'))) {
      for (const specifier of specifiers(read(path))) {
        if (specifier.startsWith('.') || specifier.startsWith('node:')) continue;
        const name = specifier
          .split('/')
          .slice(0, specifier.startsWith('@') ? 2 : 1)
          .join('/');
        if (name !== `@nemoclaw/${room}` && !declared.includes(name)) undeclared.add(`${path}: ${name}`);
      }
    }
    assert.deepEqual([...undeclared], []);
    const imported = paths(['.ts', '.js'], folder).map(read).map(({ text }) => text).join('');
    assert.deepEqual(
      declared.filter((name) => !new RegExp(`['"]${name}(/[^'"]*)?['"]`).test(imported)),
      [],
      'it depends on what it never imports',
    );
  });
}

test('every room with code is in the table, and no room has a name that says nothing', () => {
  const rooms = [...paths(['package.json'])].filter((path) => path !== 'package.json').map((path) => path.replace('/package.json', ''));
  const known = Object.keys(allowed).map(folderOf);
  assert.deepEqual(
    rooms.filter((room) => !known.includes(room) && !room.includes('/agents/') && room !== 'console'),
    [],
  );
  const vague = /(^|\/)(utils?|common|helpers?|shared|misc|lib)(\/|\.ts$)/;
  assert.deepEqual(
    paths(['.ts', '.c', '.h']).filter((path) => vague.test(path)),
    [],
  );
});
