/** Builds the gateway from its ports and says how news from openshelld and from workers come in. */
import type { Duplex } from 'node:stream';
import type { Released, SyscallHold } from '@nemoclaw/contract';
import { ApprovalDesk } from './approvals/desk.ts';
import { deskSandbox, syscallHold, workerHold } from './approvals/holds.ts';
import { gatewayEvent } from './backend.ts';
import type { House, Ports } from './house.ts';
import { renewAsked, renewEnding } from './credentials/manage.ts';
import { KeyedLock } from './keyed-lock.ts';
import { Workers } from './links/workers.ts';
import { Blueprints } from './sandboxes/blueprints.ts';
import { LiveSandboxes } from './sandboxes/live.ts';
import { sandboxGone, workspaceReleased } from './sandboxes/life.ts';
import { raiseLabel } from './sandboxes/raise-label.ts';
import { configureWorker, freeNames, loadSandboxes, refreshAnchors, takeInventory, type Inventory } from './sandboxes/recover.ts';
import { Execs } from './tasks/execs.ts';
import { Notices } from './tasks/notices.ts';

/** The running gateway. Every method takes news and never throws; what fails is put on record. */
export interface Gateway {
  readonly house: House;
  worker(name: string, socket: Duplex): void;
  inventory(inventory: Inventory): Promise<void>;
  /** openshelld restarted: what it was asked is void, what it held will be named again. */
  reset(): Promise<void>;
  hold(hold: SyscallHold): Promise<void>;
  holdEnded(sandbox: string, holdId: string, outcome: string): Promise<void>;
  execExited(execId: string, code: number | null, signal: string | null): void;
  sandboxGone(sandbox: string, why: string): Promise<void>;
  workspaceReleased(sandbox: string, released: Released): Promise<void>;
  /** Called about once a second. */
  sweep(): Promise<void>;
  close(): Promise<void>;
}

/** Reads everything back from the store before it returns, so that no news meets an empty house. */
export async function openGateway(ports: Ports): Promise<Gateway> {
  const sandboxes = new LiveSandboxes();
  const notices = new Notices();
  const execs = new Execs(ports.backend, ports.ids);
  const desk: ApprovalDesk = new ApprovalDesk({
    store: ports.store,
    audit: ports.audit,
    clock: ports.clock,
    ids: ports.ids,
    people: () => ports.people(),
    mask: (text, kind) => ports.redact(text, kind),
    sandbox: (id) => {
      const live = sandboxes.get(id);
      return live && deskSandbox(live);
    },
    changed: (id, approval) => {
      notices.tell(id, approval);
      workers.send(sandboxes.ownerOf(id), { t: 'pending', sandbox: id, entries: desk.pending(id) });
    },
  });
  const say = (sandbox: string, message: string, error: unknown): void =>
    ports.audit.emit(gatewayEvent(ports.clock.now(), sandbox, message, { severity: 4, data: { error: error instanceof Error ? error.message : String(error) } }));

  const workers: Workers = new Workers({
    ownerOf: (id) => sandboxes.ownerOf(id),
    hold: (hold) => workerHold(house, hold),
    withdrawn: (id, holdId, why) => (livesOn(why) ? desk.release(id, holdId) : why === 'policy' ? desk.overtaken(id, holdId) : desk.withdraw(id, holdId, why)),
    raise: (id, to, why) => raiseLabel(house, id, to, why),
    consume: (id, key) => (sandboxes.get(id)?.record.value.state === 'running' ? desk.consumeGrant(id, key) : Promise.resolve(false)),
    renew: (id, placeholder) => renewAsked(house, id, placeholder),
    rates: (id, rates) => {
      const live = sandboxes.get(id);
      if (live) live.rates = rates;
    },
    usage: (id, { requests, bytesOut, tokens }) => {
      const live = sandboxes.get(id);
      if (live) live.usage = { requests, bytesOut, tokens };
    },
    breach: (worker, why) =>
      ports.audit.emit(gatewayEvent(ports.clock.now(), '', `The link to ${worker} was closed: ${why}`, { class: 'detectionFinding', activity: 1, severity: 5, verdict: 'deny', data: { worker, why } })),
    up: (worker) => void configureWorker(house, worker).catch((error: unknown) => say('', `The worker ${worker} could not be configured.`, error)),
    down: (worker) => void desk.releaseAll((record) => record.kind !== 'syscall' && sandboxes.ownerOf(record.sandbox) === worker).catch((error: unknown) => say('', 'Held requests could not be kept.', error)),
  });
  const house: House = { ...ports, sandboxes, desk, workers, execs, notices, resumed: new Map(), blueprints: new Blueprints(ports.settings), lock: new KeyedLock(), startedAt: ports.clock.now(), hostFacts: rememberFacts(ports) };
  await freeNames(house);
  await loadSandboxes(house);
  await desk.load();

  let first = true;
  const safely = async (what: string, sandbox: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      say(sandbox, what, error);
    }
  };
  return {
    house,
    worker: (name, socket) => workers.attach(name, socket),
    inventory: (inventory) => {
      const isFirst = first;
      first = false;
      return safely('The inventory could not be taken.', '', () => takeInventory(house, inventory, isFirst));
    },
    reset: () => safely('Held calls could not be released.', '', () => desk.releaseAll((record) => record.kind === 'syscall')),
    hold: (hold) => safely('A held call could not be asked about; it is denied at its deadline.', hold.sandbox, () => syscallHold(house, hold)),
    holdEnded: (sandbox, holdId, outcome) => safely('The end of a held call could not be recorded.', sandbox, () => desk.ended(sandbox, holdId, outcome)),
    execExited: (execId, code, signal) => execs.exited(execId, { code, signal }),
    sandboxGone: (sandbox, why) => safely('The end of a sandbox could not be recorded.', sandbox, () => sandboxGone(house, sandbox, why)),
    workspaceReleased: (sandbox, released) => safely('What a sandbox left in its workspace could not be recorded.', sandbox, () => workspaceReleased(house, sandbox, released)),
    sweep: async () => {
      await safely('Expired questions could not be closed.', '', () => desk.sweep());
      // Not waited for: another host may take its time.
      void safely('Access tokens could not be renewed.', '', () => renewEnding(house));
      await safely('Trust anchors could not be refreshed.', '', async () => void (await refreshAnchors(house)));
    },
    close: async () => {
      workers.close();
      await ports.store.close();
    },
  };
}

/** A host does not change while it runs, but openshelld may be replaced by one with other settings. */
const factsLast = 30_000;

function rememberFacts(ports: Ports): House['hostFacts'] {
  let known: { readonly at: number; readonly facts: Readonly<Record<string, unknown>> } | undefined;
  return async () => {
    if (!known || ports.clock.monotonic() - known.at > factsLast) known = { at: ports.clock.monotonic(), facts: await ports.backend.host() };
    return known.facts;
  };
}

/** Words of a worker that mean: I wait no longer, but the question stays. `policy`: a new policy decided it. Everything else means that the agent gave up. */
function livesOn(why: string): boolean {
  return /^(patience|waiting|holder|shutdown)/.test(why);
}
