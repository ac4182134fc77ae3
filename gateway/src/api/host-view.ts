/** What this host enforces, in plain words, from the facts that openshelld found. */
import type { DoctorView, HostView, ScannerName, StatusView } from '@nemoclaw/contract';
import type { House } from '../house.ts';

type Facts = Readonly<Record<string, unknown>>;

function flag(facts: Facts, group: string, name: string): boolean {
  const found = facts[group];
  return typeof found === 'object' && found !== null && (found as Record<string, unknown>)[name] === true;
}

/** An unknown fact counts as not enforced. */
function hostView(facts: Facts): HostView {
  const tier = String(facts['tier'] ?? 'unknown');
  const landlock = Number(facts['landlock'] ?? 0);
  const enforced: string[] = [];
  const notEnforced: string[] = [];
  const say = (is: boolean, yes: string, no: string): void => {
    if (is) enforced.push(yes);
    else notEnforced.push(no);
  };
  const root = tier === 'A' || tier === 'B';
  say(root, 'The sandbox sees only what its policy lists; nothing else of the host exists in it.', 'The view of files is not known.');
  say(landlock >= 1, `Files: Landlock version ${landlock}.`, 'Files: this kernel has no Landlock.');
  say(root, 'System calls: only those on the list of the policy\'s level; the others are refused and recorded.', 'System calls: not known.');
  say(root, 'Network: every connection and name is decided; there is no route past the proxy.', 'Network: not known.');
  say(root, 'Deleting and renaming that needs approval waits in the kernel until a person decides.', 'Held system calls: not on this host.');
  say(flag(facts, 'cgroup', 'memory'), 'Memory is limited.', 'Memory is not limited: no memory cgroup.');
  say(flag(facts, 'cgroup', 'pids'), 'Processes are limited.', 'Processes are limited only by uid: no pids cgroup.');
  say(flag(facts, 'cgroup', 'cpu'), 'CPU is limited.', 'CPU is not limited: no cpu cgroup.');
  say(facts['programs'] === true, 'The program that opens a connection is seen (eBPF), so that network rules on programs hold, as a hint.', 'The program that opens a connection is not seen: network rules on programs (`binaries`) are refused unless best-effort.');
  say(facts['seen'] === true, 'Every system call is seen and counted in the kernel (eBPF), and refused file operations are on record.', 'System calls are not seen one by one: eBPF is not available.');
  const why = typeof facts['tierWhy'] === 'string' && facts['tierWhy'] !== '' ? facts['tierWhy'] : 'not tried';
  say(tier === 'A', 'Files, programs, sockets and signals are decided by eBPF LSM too, and the policy holds while openshelld is away.', `Files and programs are not decided by eBPF LSM (tier A: ${why}); mounts and Landlock decide them.`);
  if (facts['testing'] === true) notEnforced.push('The host says `testing: true`: tests may switch layers off.');
  return { tier, enforced, notEnforced, facts };
}

async function facts(house: House): Promise<Facts | undefined> {
  try {
    return await house.backend.host();
  } catch {
    return undefined;
  }
}

/** Those that are or were here, and those that running sandboxes need: the gateway may have come after their end. Where nothing is known of any, one is missing. */
function workersOf(house: House): StatusView['services'] {
  const running = house.sandboxes.all().filter(({ record }) => record.value.state === 'running');
  const names = new Set([...house.workers.known, ...running.map(({ record }) => record.value.worker)]);
  return names.size === 0 ? [{ name: 'worker', up: false }] : [...names].toSorted().map((name) => ({ name, up: house.workers.names.includes(name) }));
}

/** The whole state, what needs the person first. */
export async function statusView(house: House, views: StatusView['sandboxes']): Promise<StatusView> {
  const [found, record] = await Promise.all([facts(house), house.record.status()]);
  const needsYou: StatusView['needsYou'] = house.desk
    .list('waiting')
    .map((approval) => ({ text: `${approval.sandbox} waits for your decision: ${approval.card.summary}`, command: `nemoclaw approvals show ${approval.id}` }));
  for (const view of views) if (view.state === 'failed') needsYou.push({ text: `${view.name} has failed: ${view.problem}`, command: `nemoclaw ${view.name} start` });
  if (!record.up) needsYou.push({ text: 'The record cannot be written; approvals and changes are refused.', command: 'nemoclaw doctor' });
  if (!found) needsYou.push({ text: 'openshelld does not answer.', command: 'nemoclaw doctor' });
  const workers = workersOf(house);
  for (const { name, up } of workers) if (!up) needsYou.push({ text: `The data plane ${name} does not run: the sandboxes that it serves reach nothing.`, command: 'nemoclaw doctor' });
  return {
    version: house.settings.version,
    startedAt: house.startedAt,
    needsYou,
    sandboxes: views,
    approvalsWaiting: house.desk.list('waiting').length,
    singleOperator: house.people() <= 1,
    host: hostView(found ?? {}),
    services: [{ name: 'openshelld', up: found !== undefined }, ...workers, { name: 'ledger', up: record.up }],
    record,
  };
}

/** The engine that searches long bodies; all workers have the same, unless it failed in one. */
function searchText(scanners: readonly ScannerName[]): string {
  if (scanners.length === 0) return 'Long bodies: no data plane has said yet what searches them.';
  if (scanners.every((one) => one === 'hyperscan')) return 'Long bodies are searched by hyperscan, then by the detectors in typescript.';
  return `Long bodies are searched by the detectors in typescript${scanners.includes('hyperscan') ? ', with hyperscan before them only in some data planes: the record says why' : ' alone: hyperscan is not installed, switched off in host.yaml, or failed, which is then on record'}.`;
}

export async function doctorView(house: House): Promise<DoctorView> {
  const [found, record] = await Promise.all([facts(house), house.record.status()]);
  const host = hostView(found ?? {});
  const missing = workersOf(house).flatMap(({ name, up }) => (up ? [] : [name]));
  const check = (name: string, ok: boolean, good: string, bad: string, fix: string, weight: 'failed' | 'warning' = 'failed'): DoctorView['checks'][number] =>
    ok ? { name, state: 'ok', text: good, fix: '' } : { name, state: weight, text: bad, fix };
  return {
    host,
    checks: [
      check('openshelld', found !== undefined, 'openshelld answers.', 'openshelld does not answer.', 'Look at its log, then `nemoclaw down` and `nemoclaw up`.'),
      check('tier', host.tier === 'A' || host.tier === 'B', `Tier ${host.tier}.`, `Tier ${host.tier}: the kernel part does not run as root.`, 'Start NemoClaw as root or with sudo.'),
      check('landlock', Number(host.facts['landlock'] ?? 0) >= 1, `Landlock version ${String(host.facts['landlock'])}.`, 'This kernel has no Landlock.', 'Use Linux 5.13 or newer with Landlock switched on.'),
      check('limits', flag(host.facts, 'cgroup', 'memory') && flag(host.facts, 'cgroup', 'pids'), 'Memory and processes are limited by cgroups.', 'Memory or processes are not limited by cgroups.', 'Mount the memory and pids controllers.', 'warning'),
      check('data plane', missing.length === 0, `${house.workers.names.length} data plane worker(s).`, `The data plane ${missing.join(', ')} does not run; its sandboxes reach nothing.`, 'Look at the log of the worker.'),
      { name: 'search', state: 'ok', text: searchText(house.workers.scanners), fix: '' },
      check('record', record.up, `The record has ${record.count} events.`, 'The record cannot be written.', 'Look at the log of the ledger and at the space on its disk.'),
      check('operators', house.people() > 1, 'Two or more people can decide: nobody approves what their own agent asks.', 'Single operator: who runs the agent also decides.', 'Add a second person to the group nemoclaw-operators.', 'warning'),
    ],
  };
}
