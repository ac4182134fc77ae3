/** What the policy in force would decide; nothing happens and nothing is put on record. */
import { NemoError, unlabelled, type ActionRequest, type Explained, type explainSchema } from '@nemoclaw/contract';
import type { z } from 'zod';
import type { LiveSandbox } from '../sandboxes/live.ts';

type Asked = z.output<typeof explainSchema>['request'];

function requestOf(live: LiveSandbox, asked: Asked): ActionRequest {
  const base: ActionRequest = {
    sandbox: live.record.value.id,
    role: live.bundle.role,
    task: '',
    source: 'model',
    action: '',
    resource: { kind: 'none' },
    params: new Map(),
    labels: unlabelled,
    provenance: new Map(),
    history: { readRestricted: false, ingestedUntrusted: false, hasEgress: false, counts: new Map() },
  };
  switch (asked.kind) {
    case 'tool':
      return { ...base, ...live.inForce.resolveTool(asked.tool, new Map(Object.entries(asked.arguments))), resource: { kind: 'tool', name: asked.tool } };
    case 'action':
      return { ...base, action: asked.action, params: new Map(Object.entries(asked.params)) };
    case 'connect':
      return { ...base, source: 'connect', resource: { kind: 'host', host: asked.host, port: asked.port } };
    case 'http': {
      const url = parseUrl(asked.url);
      const tls = url.protocol === 'https:';
      const resource = {
        kind: 'http',
        host: url.hostname,
        port: url.port === '' ? (tls ? 443 : 80) : Number(url.port),
        method: asked.method.toUpperCase(),
        path: url.pathname,
        query: [...url.searchParams],
        tls,
      } as const;
      return { ...base, source: 'http', ...live.inForce.resolveHttp(resource, new Map(Object.entries(asked.body))), resource };
    }
  }
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url && (url.protocol === 'http:' || url.protocol === 'https:')) return url;
  throw new NemoError('NEMO_E_BODY', { what: 'The address is not an http or https URL.', fix: 'Write e.g. https://api.example.com/v1/items' });
}

export function explain(live: LiveSandbox, asked: Asked): Explained {
  const { verdict, action, rules, reason, hint, policyVersion } = live.inForce.decide(requestOf(live, asked));
  return { verdict, action, rules: rules.map((rule) => ({ ...rule })), reason, hint, policyVersion };
}
