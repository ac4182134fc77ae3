/** What the data plane must know of the hosts a policy names: where some of them are, whom to trust there, and what to speak. */
import { NemoError, type NetworkPolicyFile, type SandboxConfig } from '@nemoclaw/contract';

/** Fixed addresses, extra trust anchors and `upstream` by host. `readAnchor` gives the PEM of a file name, undefined if there is none. Throws NEMO_E_BLUEPRINT for a missing one. */
export function upstreamsOf(network: NetworkPolicyFile | undefined, readAnchor: (file: string) => string | undefined): SandboxConfig['upstreams'] {
  const byHost = new Map<string, { addresses: Set<string>; caPem: string; http1: boolean }>();
  for (const rule of network ? [...network.networkPolicy.egress.allow, ...network.networkPolicy.egress.escalate] : []) {
    if (rule.addresses === undefined && rule.ca === undefined && rule.upstream === undefined) continue;
    // which of the names may be reached is decided elsewhere; here it is only where they are
    const name = rule.domain.replace(/^\?\./, '*.');
    const host = byHost.get(name) ?? { addresses: new Set<string>(), caPem: '', http1: false };
    byHost.set(name, host);
    host.http1 ||= rule.upstream === 'http1';
    for (const address of rule.addresses ?? []) host.addresses.add(address);
    if (rule.ca === undefined) continue;
    const pem = readAnchor(rule.ca);
    if (pem === undefined) throw new NemoError('NEMO_E_BLUEPRINT', { what: `The trust anchor ${rule.ca} of ${rule.domain} is not there.`, fix: 'Put the PEM file beside the policy, or into the anchors folder of the gateway.' });
    if (!host.caPem.includes(pem)) host.caPem += pem;
  }
  return [...byHost].map(([host, { addresses, caPem, http1 }]) => ({ host, addresses: [...addresses], ...(caPem === '' ? {} : { caPem }), ...(http1 ? { http1 } : {}) }));
}
