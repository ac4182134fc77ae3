/** Destinations of the record by name: `siem://NAME` in a policy, the address in the operator's configuration. */
import { NemoError } from '@nemoclaw/contract';

/** `file`: OCSF as JSON lines, appended to `path`. */
export interface SinkConfig {
  readonly type: 'file';
  readonly path: string;
}

const shape = /^siem:\/\/([a-z][a-z0-9-]{0,63})$/;

/** The configured sink that `auditLog.destination` names. Throws NEMO_E_POLICY_SINK with what is configured. */
export function resolveSink(uri: string, configured: ReadonlyMap<string, SinkConfig>): { readonly name: string; readonly config: SinkConfig } {
  const name = shape.exec(uri)?.[1];
  const config = name === undefined ? undefined : configured.get(name);
  if (name !== undefined && config) return { name, config };
  const names = [...configured.keys()].map((known) => `siem://${known}`);
  throw new NemoError('NEMO_E_POLICY_SINK', {
    what: name === undefined ? `\`${uri}\` is not an audit destination` : `no sink is configured by the name \`${name}\``,
    why: names.length > 0 ? `configured: ${names.join(', ')}` : 'no sink is configured',
    fix: `Use ${names[0] ?? 'siem://security-events'}, or configure a sink of this name.`,
  });
}
