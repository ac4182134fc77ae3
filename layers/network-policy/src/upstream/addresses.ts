/** Which addresses an upstream name may resolve to: public unicast only, unless the policy names the address itself. */
import { BlockList, isIP } from 'node:net';

// IANA special-purpose registries (IPv4 and IPv6), multicast, and every form that carries an IPv4 address inside.
const forbidden4 = [
  '0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.0.0.0/24', '192.0.2.0/24', '192.31.196.0/24',
  '192.52.193.0/24', '192.88.99.0/24', '192.168.0.0/16', '192.175.48.0/24', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24', '224.0.0.0/4', '240.0.0.0/4',
];
// Cloud metadata and wire services that answer on otherwise public addresses.
const services4 = ['168.63.129.16/32', '100.100.100.200/32'];
const forbidden6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20'];

const blocked = new BlockList();
const global6 = new BlockList();
for (const range of [...forbidden4, ...services4]) add(blocked, range, 'ipv4');
for (const range of forbidden6) add(blocked, range, 'ipv6');
// Only 2000::/3 is global unicast: this leaves out ::/128, ::1, mapped, NAT64, fe80::, fc00::, ff00:: and what is not assigned.
global6.addSubnet('2000::', 3, 'ipv6');

// What no block may open: the host itself, its links, and where clouds hand out credentials. A policy can name such an address by itself.
const never = new BlockList();
for (const range of ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3', ...services4]) add(never, range, 'ipv4');
for (const range of ['::/127', 'fe80::/10', 'ff00::/8', 'fd00:ec2::/32', '::ffff:0:0/96']) add(never, range, 'ipv6');

function add(list: BlockList, range: string, family: 'ipv4' | 'ipv6'): void {
  const [address = '', prefix = ''] = range.split('/');
  list.addSubnet(address, Number(prefix), family);
}

/** True for an address on the public internet; false for anything else, including text that is no address. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !blocked.check(address, 'ipv4');
  if (family === 6) return !address.includes('%') && global6.check(address, 'ipv6') && !blocked.check(address, 'ipv6');
  return false;
}

/** True for an address inside one of the blocks (`10.1.0.0/16`), but never for loopback, link-local, multicast or metadata addresses. */
export function isWithin(address: string, blocks: readonly string[]): boolean {
  const family = isIP(address);
  if (family === 0 || address.includes('%') || never.check(address, family === 4 ? 'ipv4' : 'ipv6')) return false;
  const list = new BlockList();
  for (const block of blocks) if (isIP(block.split('/')[0] ?? '') === family) add(list, block, family === 4 ? 'ipv4' : 'ipv6');
  return list.check(address, family === 4 ? 'ipv4' : 'ipv6');
}
