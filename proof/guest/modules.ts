/** Which kernel modules the guest loads, in the order in which they can be loaded. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { GuestUnavailable } from './unavailable.ts';

/** The root disk first; then what sandboxes need: packet capture, overlay workspaces. */
const wanted = ['virtio_blk', 'virtio-rng', 'nf_tables', 'nft_tproxy', 'nft_reject_inet', 'nft_reject_ipv4', 'nft_reject_ipv6', 'nft_ct', 'nft_nat', 'nft_redir', 'nft_limit', 'nft_chain_nat', 'nft_socket', 'overlay', 'vsock_loopback', 'inet_diag', 'tcp_diag', 'unix_diag'];

export interface Module {
  readonly name: string;
  /** As packaged; the kernel unpacks it by itself (MODULE_INIT_COMPRESSED_FILE). */
  readonly file: string;
}

const plain = (name: string): string => name.replaceAll('-', '_');

/** `depends=` of the module's own `.modinfo`. */
function dependencies(file: string): string[] {
  const content = file.endsWith('.xz') ? spawnSync('xz', ['-dc', file], { maxBuffer: 1 << 28 }).stdout : readFileSync(file);
  const at = content.indexOf('\0depends=');
  if (at < 0) return [];
  return content
    .subarray(at + 9, content.indexOf(0, at + 9))
    .toString()
    .split(',')
    .filter(Boolean);
}

/** Modules in loading order. A wanted one that is built in, or that this kernel has not, is left out; the tests that need it say so. */
export function modulesOf(folder: string): Module[] {
  const files = new Map(
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((path) => /\.ko(\.xz)?$/.test(path))
      .map((path) => [plain(basename(path).replace(/\.ko(\.xz)?$/, '')), join(folder, path)]),
  );
  if (files.size === 0) throw new GuestUnavailable(`${folder} has no modules`);
  const order: Module[] = [];
  const add = (name: string): void => {
    const file = files.get(plain(name));
    if (file === undefined || order.some((module) => module.name === plain(name))) return;
    for (const needed of dependencies(file)) add(needed);
    order.push({ name: plain(name), file });
  };
  for (const name of wanted) add(name);
  return order;
}
