import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadSandboxPolicy } from '@nemoclaw/contract';
import { startingLabel } from './starting-label.ts';

const label = (spec: string): string => {
  const found = startingLabel(loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: t }\nspec: { isolation: {}, filesystem: { ${spec} } }\n`, 't.yaml'));
  return `${found.level} ${found.rules.join()}`;
};

test('the label is the join of what can be read: not what is denied, not what is not there', () => {
  assert.equal(label(''), 'public ');
  assert.equal(label('labels: [{ path: /workspace/hr/**, level: confidential }, { path: /workspace/board, level: restricted }]'), 'restricted filesystem.labels[0],filesystem.labels[1]');
  assert.equal(label('labels: [{ path: /workspace/hr/**, level: restricted }], deny: [/workspace/hr/**]'), 'public ');
  assert.equal(label('labels: [{ path: /workspace/hr/a/**, level: restricted }], deny: [/workspace/hr/**]'), 'public ');
  assert.equal(label('labels: [{ path: /workspace/hr/**, level: internal }], deny: [/workspace/hr/a/**]'), 'internal filesystem.labels[0]');
  assert.equal(label('labels: [{ path: /srv/records/**, level: restricted }]'), 'public ', 'nothing of /srv is shown');
  assert.equal(label('labels: [{ path: /srv/records/**, level: restricted }], readOnly: [/opt/x, /srv/records/a]'), 'public ', 'not below the bind roots');
  assert.equal(label('labels: [{ path: /opt/records/**, level: restricted }]'), 'restricted filesystem.labels[0]');
});
