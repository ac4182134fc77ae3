/** Door of the room. */
export { ControlChannel, PacketChannel, maxPacket } from './control-channel.ts';
export { OpenshelldClient, OpenshelldError } from './openshelld-client.ts';
export type { ControlPort, ExecOptions, ExecStarted, HostReport, OpenshelldNews, OpenshelldRequest } from './openshelld-client.ts';
export { binding, closeFd, nativePaths, peerCred } from './native.ts';
export type { PeerCred } from './native.ts';
