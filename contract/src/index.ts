/** Door of `contract`: every word two rooms share. */
export * from './agent-text.ts';
export * from './api.ts';
export * from './control.ts';
export * from './decision.ts';
export * from './errors.ts';
export * from './events.ts';
export * from './exact-json.ts';
export * from './figure.ts';
export * from './framing.ts';
export * from './link.ts';
export * from './plan.ts';
export * from './ports.ts';
export * from './policy/index.ts';
export * from './register.ts';
export * from './seen.ts';
