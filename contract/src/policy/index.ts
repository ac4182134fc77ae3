/** Policy files: schemas, loaders, and what a loaded policy asks of the host. */
export * from './approvals.ts';
export * from './attribute.ts';
export * from './blueprint.ts';
export * from './catalogue.ts';
export * from './inference.ts';
export * from './network.ts';
export { defaultPorts, protocolOf } from './network-sense.ts';
export { httpProtocols, ruleProtocols, type RuleProtocol } from './network-words.ts';
export * from './sandbox.ts';
export { isStated, whereOf, sourceKey, type Path, type SourceMap } from './source.ts';
export type { Loaded } from './issue.ts';
export { nearest } from './nearest.ts';
export * from './folder.ts';
export * from './lint.ts';
export * from './unenforced.ts';
export { foreignNotes, type ForeignNote } from './foreign.ts';
export * as sandboxFiles from './sandbox-files.ts';
export { actionMatters } from './unseen-actions.ts';
