/** Door of the room. */
export { ControlChannel, PacketChannel, maxPacket } from './control-channel.ts';
export { OpenshelldClient, OpenshelldError } from './openshelld-client.ts';
export type { ControlPort, ExecOptions, ExecStarted, HostReport, OpenshelldNews, OpenshelldRequest } from './openshelld-client.ts';
export { binding, closeFd, nativePaths, peerCred } from './native.ts';
export type { PeerCred } from './native.ts';
export { planFor } from './plan-for.ts';
export type { PlanOptions } from './plan-for.ts';
export { readHostFacts } from './host-facts.ts';
export type { HostFacts } from './host-facts.ts';
export { launchAlone, launcherPath } from './launch-alone.ts';
export type { AloneOptions, AloneResult } from './launch-alone.ts';
export { main as openshellMain } from './cli.ts';
export { explain, explainOps } from './explain.ts';
export type { ExplainHost, ExplainLayer, ExplainOp, ExplainQuery, Explanation } from './explain.ts';
