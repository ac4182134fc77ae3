/** Squid as one more peer of the benchmarks: Debian's squid-openssl opening TLS. It is unpacked, not installed, so that no service starts. It decides and records nothing. */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { testClock } from '../testing/testing-egress.ts';
import { createRootCa } from '../tls/certificate.ts';
import { cache, freePort, started } from './bench-peers.ts';
import type { Peer } from './bench-peers.ts';

/** Itself, its pages and the libraries that it needs. */
const packages = ['squid-openssl', 'squid-common', 'squid-langpack', 'libecap3', 'libltdl7', 'libnetfilter-conntrack3', 'libnfnetlink0'];

/** `folder` holds what was unpacked, and all that it writes. */
const configuration = (folder: string, port: number): string => `http_port 127.0.0.1:${port} ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=4MB tls-cert=${folder}/ca.pem tls-key=${folder}/ca.key
sslcrtd_program ${folder}/usr/lib/squid/security_file_certgen -s ${folder}/certificates -M 4MB
ssl_bump bump all
tls_outgoing_options flags=DONT_VERIFY_PEER
sslproxy_cert_error allow all
http_access allow all
cache deny all
cache_mem 0
access_log none
cache_log /dev/null
cache_store_log none
pid_filename none
pinger_enable off
unlinkd_program /bin/true
mime_table ${folder}/usr/share/squid/mime.conf
icon_directory ${folder}/usr/share/squid/icons
error_directory ${folder}/usr/share/squid-langpack/templates
err_page_stylesheet ${folder}/etc/squid/errorpage.css
`;

export async function startSquid(say: (text: string) => void): Promise<Peer> {
  const kept = join(cache, 'squid');
  const packed = (): string[] => (existsSync(kept) ? readdirSync(kept).filter((name) => name.endsWith('.deb')) : []);
  if (packed().length < packages.length) {
    say('fetching squid, to compare with');
    mkdirSync(kept, { recursive: true });
    spawnSync('apt-get', ['download', ...packages], { cwd: kept, stdio: 'ignore', timeout: 120_000 });
  }
  if (packed().length < packages.length) throw new Error('squid could not be fetched');
  const folder = mkdtempSync(join(tmpdir(), 'nemoclaw-squid-'));
  // Started by root it changes to a user of its own.
  chmodSync(folder, 0o755);
  for (const name of packed()) spawnSync('dpkg', ['-x', join(kept, name), folder], { stdio: 'ignore' });
  const port = await freePort();
  const root = createRootCa('bench', testClock.now());
  writeFileSync(join(folder, 'ca.pem'), root.certPem);
  writeFileSync(join(folder, 'ca.key'), root.keyPem);
  writeFileSync(join(folder, 'squid.conf'), configuration(folder, port));
  const env = { ...process.env, LD_LIBRARY_PATH: join(folder, 'usr/lib/x86_64-linux-gnu') };
  spawnSync(join(folder, 'usr/lib/squid/security_file_certgen'), ['-c', '-s', join(folder, 'certificates'), '-M', '4MB'], { env, stdio: 'ignore' });
  spawnSync('chown', ['-R', 'proxy', join(folder, 'certificates')], { stdio: 'ignore' });
  return started('squid', spawn(join(folder, 'usr/sbin/squid'), ['-N', '-f', join(folder, 'squid.conf')], { env, stdio: 'ignore' }), port, folder, 'ca.pem');
}
