/** Door of the room: compile a policy, ship it, decide by it. */
export { compilePolicy, type PolicyInput } from './compile.ts';
export { decide } from './decide.ts';
export { encodePolicy, decodePolicy } from './codec.ts';
export { answerKey, requestKey } from './key.ts';
export { resolveTool, resolveHttp, type CompiledPolicy } from './policy.ts';
export { headersNamed, needsBody, needsMessage, programsNamed, termsOf } from './needs.ts';
export type { EgressTerms } from './egress.ts';
export { canonicalJson } from './canonical.ts';
export { compilePath, matchPath, strictSegments, type PathPattern } from './glob.ts';
export type { Resolved } from './actions.ts';
export type { Handling, NetworkView, Upstream } from './network.ts';
export type { EgressRuleIr, IngressRuleIr, InspectionIr, PolicyIr, RateIr } from './ir.ts';
