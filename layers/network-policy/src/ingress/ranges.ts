/** A caller who is known by its address: only the connection's own other end counts. */
import { BlockList, isIP, isIPv6 } from 'node:net';
import type { Caller, Proof, Unproven } from './rules.ts';

export function checkAddress(proof: Extract<Proof, { kind: 'addresses' }>, caller: Caller): Unproven {
  const address = caller.address.replace(/^::ffff:(?=\d+\.)/i, '');
  if (isIP(address) === 0) return 'the address of the caller is not known';
  return listOf(proof.ranges).check(address, isIPv6(address) ? 'ipv6' : 'ipv4') ? undefined : 'the address of the caller is not among those named';
}

function listOf(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [network = '', bits] = range.split('/');
    const family = isIPv6(network) ? 'ipv6' : 'ipv4';
    if (bits === undefined) list.addAddress(network, family);
    else list.addSubnet(network, Number(bits), family);
  }
  return list;
}
