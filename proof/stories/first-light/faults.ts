/** Every service is killed once while a deletion, a request and a stream are under way: agents live, nothing opens, what waits goes on waiting. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Checks } from '../../harness/checks.ts';
import { until, type Instance } from '../../harness/instance.ts';
import { Company } from './company.ts';
import { LiveStream } from './live-stream.ts';
import { unadmittedGaps } from './record-gaps.ts';
import type { Scene } from './scene.ts';
import { killService, pidsOf, type Service } from './services.ts';
import { curl, statusOf, Terminal } from './terminal.ts';

const backWithin = 5000;
const performedWithin = 1000;
/** openshelld and the worker are back too fast for the agent to notice: who restarts them is stopped for so long. */
const pauseMs: Readonly<Record<Service, number>> = { openshelld: 700, gateway: 0, ledger: 0, worker: 700 };

export async function faults(instance: Instance, check: Checks): Promise<void> {
  const company = await Company.open('desk.example');
  const terminal = new Terminal(instance);
  try {
    company.installBlueprint(instance, 'desk', 'desk', [['http: 3s', 'http: 1m']]);
    const scene: Scene = { instance, check, company, terminal, workspace: await terminal.make('desk', company) };
    const started = await terminal.exec('desk', ['sh', '-c', `python3 /workspace/watch.py ${company.port} >/dev/null 2>&1 </dev/null & echo started`]);
    if (started.code !== 0) throw new Error(started.out + started.err);
    await until('the working agent', () => (tries(scene).length > 0 ? true : undefined));
    for (const service of ['openshelld', 'gateway', 'ledger', 'worker'] as const) {
      check.section(`kill -9 of the ${service}`);
      await check.step(`the ${service}`, () => fault(scene, service));
    }
  } finally {
    await terminal.unmake('desk');
    await company.close();
  }
}

async function fault(scene: Scene, service: Service): Promise<void> {
  const { instance, check, company, terminal, workspace } = scene;
  const file = join(workspace, 'archive', `${service}.csv`);
  const [shown, order] = [`/workspace/archive/${service}.csv`, `https://orders.desk.example:${company.port}/orders/${service}`];
  const ordered = (): number => company.arrived.filter((one) => one.path === `/orders/${service}`).length;
  writeFileSync(file, service);
  // in the background of the sandbox: a client that goes away takes nothing with it
  const begun = await terminal.exec('desk', ['sh', '-c', `(rm ${shown}; echo $? >/workspace/${service}.rm) >/dev/null 2>&1 </dev/null & (${curl('PUT', `'${order}'`).map((word) => (word.startsWith('\n') ? "'\\n%{http_code}'" : word)).join(' ')} >/workspace/${service}.put; echo $? >/workspace/${service}.put.code) >/dev/null 2>&1 </dev/null & echo begun`]);
  if (begun.code !== 0) throw new Error(begun.out + begun.err);
  const live = await LiveStream.open(terminal, 'desk', workspace, service, `https://news.desk.example:${company.port}/live`);
  const [deletion, request] = [await terminal.waiting(shown), await terminal.waiting(`/orders/${service}`)];
  const working = (): number[] => pidsOf(`python3 /workspace/watch.py ${company.port}`);
  const agents = working();
  const before = tries(scene).length;

  const killed = Date.now();
  const back = await killService(instance, terminal, service, pauseMs[service]);
  check.that('all services are back within 5 s', back < backWithin, `${Math.round(back)} ms`);
  await until('the agent to go on', () => (tries(scene).length > before + 12 ? true : undefined));
  check.that('the agent is the same process and works on', agents.length === 1 && working().join() === agents.join(), { agents, now: working() });
  const forbidden = tries(scene).slice(before).filter((one) => one.what !== 'allowed');
  const meanwhile = forbidden.filter((one) => one.to > killed && one.from < killed + pauseMs[service] + back);
  console.log(`     all services back after ${Math.round(back)} ms; ${meanwhile.length} forbidden tries meanwhile`);
  const opened = forbidden.filter((one) => /^[123]/.test(one.outcome));
  check.that('nothing opened meanwhile: what is denied failed each time', ['denied', 'unknown', 'address'].every((what) => meanwhile.some((one) => one.what === what)) && opened.length === 0 && company.at('pages.desk.example', 'DELETE').length === 0, forbidden);
  await until('what is allowed to work again', () => (tries(scene).slice(before + 8).some((one) => one.what === 'allowed' && one.outcome === '200') ? true : undefined));

  check.that('the deletion is still held, the file is there', existsSync(file) && !existsSync(join(workspace, `${service}.rm`)));
  if (service === 'worker') {
    check.that('the stream it carried is closed', await live.ends(), { ended: live.ended });
    const again = await LiveStream.open(terminal, 'desk', workspace, 'after-worker', `https://news.desk.example:${company.port}/live`);
    check.that('and a new one runs', await again.livesOn());
  } else check.that('the stream lives on, on its own connection', await live.livesOn(), { ended: live.ended });

  const gone = until('the deletion', () => (existsSync(file) ? undefined : Date.now())).catch(() => Number.POSITIVE_INFINITY);
  const approved = await terminal.approve(deletion.id);
  check.that('its approval is taken', approved.code === 0, approved.out + approved.err);
  const { decidedAt } = await terminal.show(deletion.id);
  const took = (await gone) - (decidedAt ?? 0);
  console.log(`     performed ${took} ms after the approval`);
  check.that('approved, it is performed within a second', !existsSync(file) && took < performedWithin, `${took} ms`);
  const ended = await until('the end of rm', () => (existsSync(join(workspace, `${service}.rm`)) ? readFileSync(join(workspace, `${service}.rm`), 'utf8').trim() : undefined)).catch(() => 'nothing');
  check.that('and the agent’s call ends well', ended === '0', ended);

  const first = join(workspace, `${service}.put`);
  if (service === 'worker') {
    const code = await until('the end of the request', () => (existsSync(`${first}.code`) ? readFileSync(`${first}.code`, 'utf8').trim() : undefined)).catch(() => '0');
    check.that('the request it held is closed, and nothing arrived', code !== '0' && ordered() === 0, { code, said: readFileSync(first, 'utf8') });
    const kept = await terminal.show(request.id);
    check.that('its question is still there, held by nobody', kept.state === 'waiting' && !kept.held, kept);
    await terminal.approve(request.id);
    const repeat = await terminal.exec('desk', curl('PUT', order));
    check.that('approved now, the identical request passes', statusOf(repeat) === 200 && ordered() === 1, repeat.out + repeat.err);
    const more = terminal.exec('desk', curl('PUT', order));
    const asked = await terminal.waiting(`/orders/${service}`);
    await terminal.deny(asked.id);
    check.that('once: the next one is asked again', asked.id !== request.id && statusOf(await more) === 403 && ordered() === 1, asked);
  } else {
    check.that('the request waits on, and nothing has arrived', !existsSync(`${first}.code`) && ordered() === 0, company.arrived.length);
    await terminal.approve(request.id);
    const said = await until('the end of the request', () => (existsSync(`${first}.code`) ? readFileSync(first, 'utf8') : undefined)).catch(() => 'nothing');
    check.that('approved, it arrives exactly once', said.trim().endsWith('200') && ordered() === 1, said);
  }
  const verified = await terminal.run(['audit', 'verify']);
  check.that('the record is whole', verified.code === 0 && /^whole/m.test(verified.out), verified.out + verified.err);
  const { lines, gaps } = unadmittedGaps(instance);
  check.that('and has no gap that it does not admit', lines > 0 && gaps.length === 0, gaps);
}

/** What the working agent wrote into its log: one entry per try. */
function tries({ workspace }: Scene): { from: number; to: number; what: string; outcome: string }[] {
  const file = join(workspace, 'watch.log');
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8').split('\n').slice(0, -1).map((line) => {
    const [from, to, what = '', outcome = ''] = line.split(' ');
    return { from: Number(from) * 1000, to: Number(to) * 1000, what, outcome };
  });
}
