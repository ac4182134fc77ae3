/** Door of `network-policy` (Layer 4): the egress of a sandbox and the certificates it needs. */
export { createIntermediate, createLeafKey, createRootCa, inferenceHost, LeafMinter, mintLeaf } from './certificate.ts';
export type { Intermediate, Issuer, LeafKey } from './certificate.ts';
export { defaultLimits } from './core.ts';
export type { EgressConfig, Limits } from './core.ts';
export { javaTrustStore } from './standalone/java-trust-store.ts';
export { readAlone } from './standalone/policy.ts';
export type { AlonePolicy } from './standalone/policy.ts';
export { upstreamsOf } from './reach.ts';
export { createEgress, createJudgedEgress } from './egress.ts';
export type { Destination, Egress, EgressOptions, EgressStats, JudgedEgressOptions, ListeningServer, LocalHandler, SocketSource } from './egress.ts';
export { prepareInspection } from './inspect/inspect-aside.ts';
export { IngressDoor } from './ingress/door.ts';
export type { IngressSandbox } from './ingress/admission.ts';
export { KnownSecrets } from './known-secrets.ts';
export type { Handling, HttpResource, Judge } from './judge.ts';
export type { Ends, ProgramOf } from './programs.ts';
export { checkRequest, isProblem } from './request-check.ts';
export type { Place } from './request-check.ts';
