/** The gateway process (uid nemoclaw): control channel on descriptor 3, links to workers and ledger, the API on $RUN/gateway.sock. */
import { readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { redact, redactForCard, shownOnCards } from '@nemoclaw/detect';
import { LinkSink } from '@nemoclaw/ledger';
import { createIntermediate, createRootCa, javaTrustStore } from '@nemoclaw/network-policy';
import { closeFd, ControlChannel, explain, OpenshelldClient, peerCred, planFor, readHostFacts, startingLabel, type OpenshelldNews } from '@nemoclaw/openshell';
import { serveApi } from '../api/server.ts';
import { systemClock, systemIds } from '../clock.ts';
import { openGateway, type Gateway } from '../compose.ts';
import type { PlanRequest } from '../house.ts';
import { policyFacts } from '../sandboxes/create.ts';
import { LedgerLink } from '../links/ledger-link.ts';
import { openshelldBackend } from '../links/openshelld-backend.ts';
import { compileWithDecide } from '../policy/engine.ts';
import { rehearseChanges, rehearseSwitches } from '../policy/rehearse.ts';
import { Vault } from '../credentials/vault.ts';
import { Secrets } from '../sandboxes/secrets.ts';
import { SqliteStore } from '../store/sqlite-store.ts';
import { countPeople, operatorsGroup, peerRulesFrom, settingsFrom } from './gateway-settings.ts';

const sweepMs = 1000;

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return String((JSON.parse(text) as { version?: unknown }).version ?? '0');
}

/** Starts the process. Resolves when the API listens. */
async function main(env: NodeJS.ProcessEnv): Promise<void> {
  process.umask(0o077);
  const settings = settingsFrom(env, version());
  const dir = join(settings.state, 'gateway');
  const variables = new Map(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined && /_API_KEY$/.test(entry[0])));
  const secrets = new Secrets(join(dir, 'secrets.json'), variables);
  const vault = new Vault(join(dir, 'credentials.json'), systemIds);
  const known = (): string[] => [...secrets.all(), ...vault.all()];
  const audit = new LinkSink({ clock: systemClock, ids: systemIds, known });
  const record = new LedgerLink();
  const hostFacts = readHostFacts({ nodeBinary: process.execPath });
  const operators = operatorsGroup(env);

  const channel = new ControlChannel();
  const early: [OpenshelldNews, number[]][] = [];
  let take = (news: OpenshelldNews, fds: number[]): void => void early.push([news, fds]);
  let client: OpenshelldClient | undefined;
  const gateway = await openGateway({
    store: new SqliteStore(join(dir, 'store.db')),
    audit,
    record,
    clock: systemClock,
    ids: systemIds,
    backend: openshelldBackend(() => {
      if (!client) throw new Error('openshelld is not connected yet');
      return client;
    }),
    settings,
    secrets,
    vault,
    compile: compileWithDecide,
    certificates: { root: createRootCa, intermediate: createIntermediate },
    plan: (request: PlanRequest) => {
      const plan = planFor(request.policy, { ...hostFacts, ...policyFacts(request.hostFacts) }, {
        hasWorkspace: request.workspace,
        agents: request.mounts,
        certificates: request.caPem,
        javaTrustStore: javaTrustStore(request.caPem, systemClock.now()).toString('hex'),
        env: request.env,
        hostname: request.hostname,
      });
      return { plan, env: plan.env, cwd: plan.cwd, notes: plan.notes, label: startingLabel(request.policy, hostFacts.bindRoots) };
    },
    explainFile: (policy, found, query) => {
      const { tier, gpu } = policyFacts(found);
      return explain(policy, tier, query, { ...hostFacts, gpu });
    },
    redact: (text, where) => (where === 'record' ? redact(text, known()) : redactForCard(text, known(), shownOnCards[where])),
    people: () => countPeople(operators),
  });

  take = (news, fds) => hear(gateway, { audit, record }, news, fds);
  client = new OpenshelldClient(channel, 'gateway', process.pid, (news, fds) => take(news, fds));
  for (const [news, fds] of early) take(news, fds);

  const server = await serveApi(gateway.house, { path: join(settings.run, 'gateway.sock'), group: operators, peers: peerRulesFrom(env), peerOf: (fd) => peerCred(fd) });
  void rehearseChanges(gateway.house);
  const rehearsed = new WeakSet<object>();
  const sweep = setInterval(() => {
    void gateway.sweep();
    void rehearseSwitches(gateway.house, rehearsed);
  }, sweepMs);
  const end = (): void => {
    clearInterval(sweep);
    server.close();
    void gateway.close().finally(() => process.exit(0));
  };
  process.once('SIGTERM', end);
  process.once('SIGINT', end);
  channel.onClose(end);
}

interface LedgerEnds {
  readonly audit: LinkSink;
  readonly record: LedgerLink;
}

/** One piece of news from openshelld; descriptors that nobody takes are closed. */
function hear(gateway: Gateway, ledger: LedgerEnds, news: OpenshelldNews, fds: number[]): void {
  const [fd, ...others] = fds;
  for (const other of others) closeFd(other);
  if (news.t === 'link' && fd !== undefined) {
    const socket = new Socket({ fd });
    socket.on('error', () => socket.destroy());
    if (news.peer === 'ledger') {
      // the sink says hello as the first thing on the link
      ledger.audit.attach(socket);
      ledger.record.attach(socket);
    } else gateway.worker(news.peer, socket);
    return;
  }
  if (fd !== undefined) closeFd(fd);
  switch (news.t) {
    case 'inventory':
      return void gateway.inventory(news);
    case 'reset':
      return void gateway.reset();
    case 'hold':
      return void gateway.hold(news.hold);
    case 'hold.ended':
      return void gateway.holdEnded(news.sandbox, news.holdId, news.outcome);
    case 'exec.exited':
      return gateway.execExited(news.execId, news.code, news.signal);
    case 'sandbox.gone':
      return void gateway.sandboxGone(news.sandbox, news.why);
    case 'workspace.released':
      return void gateway.workspaceReleased(news.sandbox, news.released);
    default:
      return; // link ends are seen on the links themselves; registrations are asked for when needed
  }
}

await main(process.env);
