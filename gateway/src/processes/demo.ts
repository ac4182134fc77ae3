/** The demo process (uid nemoclaw-demo): the scripted model and the demo company's services, on loopback only. */
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { demoPorts } from '@nemoclaw/contract';
import { createIntermediate, createLeafKey, createRootCa, LeafMinter } from '@nemoclaw/network-policy';
import { createModelServer } from '../demo/model-server.ts';
import { createServices } from '../demo/services.ts';
import { systemClock } from '../clock.ts';

const names = ['crm', 'tickets', 'mail', 'billing', 'status', 'warehouse'].map((service) => `${service}.acme.example`);

const dir = process.env['NEMOCLAW_DEMO_DIR'];
if (!dir) throw new Error('NEMOCLAW_DEMO_DIR is not set');
mkdirSync(dir, { recursive: true });

// The root outlives this process: sandboxes that trust it must go on doing so after a restart.
const rootFile = join(dir, 'root.json');
if (!existsSync(rootFile)) writeFileSync(rootFile, JSON.stringify(createRootCa('demo services', systemClock.now())), { mode: 0o600 });
const root = JSON.parse(readFileSync(rootFile, 'utf8')) as ReturnType<typeof createRootCa>;
const minter = new LeafMinter(createIntermediate(root, names, systemClock.now()), createLeafKey());
const contexts = new Map(names.map((name) => [name, { key: minter.keyPem, cert: minter.mint(name, systemClock.now()) }]));
// renamed into place, so that a reader never sees half a certificate
writeFileSync(join(dir, 'demo-ca.pem.new'), root.certPem, { mode: 0o644 });
// the gateway, another uid, reads it; the umask of services would forbid that
chmodSync(join(dir, 'demo-ca.pem.new'), 0o644);
renameSync(join(dir, 'demo-ca.pem.new'), join(dir, 'demo-ca.pem'));

const services = createServices({
  tls: {
    // one certificate a name; an unknown name gets no handshake
    SNICallback: (name, done) => {
      const pair = contexts.get(name);
      if (pair) done(null, createSecureContext(pair));
      else done(new Error('unknown name'));
    },
  },
  logFile: join(dir, 'services.jsonl'),
  now: () => systemClock.now(),
});

services.listen(demoPorts.services, '127.0.0.1');
createModelServer().listen(demoPorts.model, '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
