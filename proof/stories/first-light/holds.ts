/** Held actions of three kinds, decided from another terminal: approved happens exactly once, denied and unanswered never. */
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Checks } from '../../harness/checks.ts';
import { checkout, run, type Instance } from '../../harness/instance.ts';
import { Company } from './company.ts';
import type { Scene } from './scene.ts';
import { curl, statusOf, Terminal, type Approval, type Grant } from './terminal.ts';

export async function holds(instance: Instance, check: Checks): Promise<void> {
  const company = await Company.open('desk.example');
  const terminal = new Terminal(instance);
  try {
    company.installBlueprint(instance, 'desk', 'desk');
    const scene: Scene = { instance, check, company, terminal, workspace: await terminal.make('desk', company) };
    check.section('a held tool call');
    await check.step('the tool calls', () => toolCalls(scene));
    check.section('a held request');
    await check.step('the requests', () => requests(scene));
    await check.step('a request beyond its patience', () => patience(scene));
    check.section('a held deletion');
    await check.step('the deletions', () => deletions(scene));
    await check.step('a hostile thread', () => hostileThread(scene));
    check.section('nobody decides');
    await check.step('the default', () => unanswered(scene));
  } finally {
    await terminal.unmake('desk');
    await company.close();
  }
}

async function toolCalls({ check, company, terminal }: Scene): Promise<void> {
  company.script = (task) => ({ text: 'I write.', calls: [{ name: 'email_send', args: { to: task.includes('colleague') ? 'kim@desk.example' : 'dana@customer.example', subject: task, body: 'Hello' } }] });
  const ask = (task: string) => terminal.exec('desk', ['python3', '/workspace/agent.py', String(company.port), task], 90_000);
  const sent = (task: string): number => company.at('mail.desk.example', 'POST').filter((one) => one.body.includes(task)).length;

  const inside = await ask('tell a colleague');
  check.that('a mail inside the organization asks nobody', inside.code === 0 && sent('tell a colleague') === 1, inside);

  const first = ask('tell dana');
  const asked = await terminal.waiting('tell dana');
  check.that('a mail to the outside waits', asked.kind === 'tool' && asked.action === 'email.send' && sent('tell dana') === 0, asked);
  const card = await terminal.run(['approvals', 'show', asked.id]);
  check.that('its card shows the exact call, the rule and what an approval lets happen', /dana@customer\.example/.test(card.out) && /approvals\.yaml:2/.test(card.out) && /> .*"subject":"tell dana"/.test(card.out) && /approve .*once/.test(card.out), card.out + card.err);
  const approved = await terminal.approve(asked.id);
  const done = await first;
  check.that('approved: the agent gets the call and carries it out', approved.code === 0 && done.out.includes('["email_send", 200]'), approved.out + approved.err + done.out + done.err);
  check.that('approved: the mail arrived exactly once', sent('tell dana') === 1, company.arrived);
  const grants = (await terminal.json<Grant[]>(['approvals', 'grants'])).filter((grant) => grant.approvalId === asked.id);
  check.that('approved: its one use is used up', grants.length === 1 && grants[0]?.state === 'used', grants);
  const twice = await terminal.approve(asked.id);
  check.that('a second decision is refused', twice.code !== 0 && /approved/i.test(twice.err), twice.err);

  const again = terminal.exec('desk', curl('POST', `https://mail.desk.example:${company.port}/v1/send`, { to: 'dana@customer.example', subject: 'tell dana', body: 'Hello' }));
  const anew = await terminal.waiting('tell dana');
  await terminal.deny(anew.id);
  check.that('the same mail again, past the model, is asked again', anew.id !== asked.id && anew.kind === 'http' && statusOf(await again) === 403 && sent('tell dana') === 1, anew);

  const second = ask('tell robin');
  await terminal.deny((await terminal.waiting('tell robin')).id);
  const refused = await second;
  check.that('denied: the agent gets a refusal in place of the call', refused.out.includes('refused_by_policy') && !refused.out.includes('"email_send", 2'), refused.out + refused.err);
  check.that('denied: no mail arrived', sent('tell robin') === 0, company.arrived);
}

const order = (company: Company, id: string): string => `https://orders.desk.example:${company.port}/orders/${id}`;
const changed = (company: Company, id: string): number => company.at('orders.desk.example', 'PUT').filter((one) => one.path === `/orders/${id}`).length;

async function requests({ check, company, terminal }: Scene): Promise<void> {
  const first = terminal.exec('desk', curl('PUT', order(company, '1'), { hold: true }));
  const asked = await terminal.waiting('/orders/1');
  check.that('it waits, and nothing has arrived', asked.kind === 'http' && changed(company, '1') === 0, asked);
  await terminal.approve(asked.id);
  check.that('approved: it arrives exactly once', statusOf(await first) === 200 && changed(company, '1') === 1, company.arrived);
  const second = terminal.exec('desk', curl('PUT', order(company, '2'), { hold: true }));
  await terminal.deny((await terminal.waiting('/orders/2')).id);
  const refused = await second;
  check.that('denied: the agent reads the reason, and nothing arrives', statusOf(refused) === 403 && refused.out.includes('not today') && changed(company, '2') === 0, refused.out);
}

/** The blueprint's patience is 3 s. */
async function patience({ check, company, terminal }: Scene): Promise<void> {
  const put = (body: unknown) => terminal.exec('desk', curl('PUT', order(company, '3'), body));
  const first = await put({ hold: true });
  const said = jsonOf(first.out);
  check.that('after its patience it is answered 503 waiting, with the id of the question', statusOf(first) === 503 && said['status'] === 'waiting' && typeof said['approvalId'] === 'string', first.out);
  const id = String(said['approvalId']);
  const late = await terminal.approve(id);
  check.that('the question is still there and can be approved', late.code === 0 && /passes once/.test(late.out), late.out + late.err);
  check.that('the approval alone sends nothing', changed(company, '3') === 0, company.arrived);
  const other = await put({ hold: false });
  check.that('another body is not the approved request', statusOf(other) === 503 && changed(company, '3') === 0, other.out);
  const repeat = await put({ hold: true });
  check.that('the identical repeat passes', statusOf(repeat) === 200 && changed(company, '3') === 1, repeat.out);
  const more = await put({ hold: true });
  check.that('and only once: the next one is asked again', statusOf(more) === 503 && jsonOf(more.out)['approvalId'] !== id && changed(company, '3') === 1, more.out);
  for (const open of (await terminal.json<Approval[]>(['approvals', 'list'])).filter((one) => one.sandbox === 'desk')) await terminal.deny(open.id);
}

async function deletions({ check, terminal, workspace }: Scene): Promise<void> {
  const file = (name: string): string => join(workspace, 'archive', name);
  for (const name of ['a.csv', 'b.csv', 'c.csv']) writeFileSync(file(name), name);
  const first = terminal.exec('desk', ['rm', '/workspace/archive/a.csv']);
  const asked = await terminal.waiting('/workspace/archive/a.csv');
  check.that('it waits in the kernel, and the file is there', asked.kind === 'syscall' && existsSync(file('a.csv')), asked);
  await terminal.approve(asked.id);
  check.that('approved: it is performed, and rm ends well', (await first).code === 0 && !existsSync(file('a.csv')));
  const after = await terminal.show(asked.id);
  check.that('approved: the question says so', after.state === 'approved' && after.effect === 'performed', after);
  const second = terminal.exec('desk', ['rm', '/workspace/archive/b.csv']);
  await terminal.deny((await terminal.waiting('/workspace/archive/b.csv')).id);
  const refused = await second;
  check.that('denied: rm says so, and the file stays', refused.code !== 0 && /not permitted/.test(refused.err) && readFileSync(file('b.csv'), 'utf8') === 'b.csv', refused.err);
  const third = terminal.exec('desk', ['mv', '/workspace/archive/c.csv', '/workspace/taken.csv']);
  await terminal.approve((await terminal.waiting('/workspace/archive/c.csv')).id);
  check.that('approved: a rename out of the folder is performed', (await third).code === 0 && !existsSync(file('c.csv')) && readFileSync(join(workspace, 'taken.csv'), 'utf8') === 'c.csv');
}

const flips = 300;

/** One thread deletes a name while another changes the name under it; every second question is approved. What was approved is gone, and nothing else. */
async function hostileThread({ check, terminal, workspace }: Scene): Promise<void> {
  const program = join(workspace, 'race');
  const built = await run('gcc', ['-D_GNU_SOURCE', '-O2', '-static', '-pthread', '-o', program, join(checkout, 'layers/openshell/native/tests/race.c')]);
  if (built.code !== 0) throw new Error(built.err);
  chmodSync(program, 0o755);
  let over = false;
  const decided: string[] = [];
  const deciding = (async () => {
    while (!over) {
      for (const { id, sandbox } of await terminal.api<Approval[]>('GET', '/v1/approvals?state=waiting')) {
        if (sandbox !== 'desk') continue;
        await terminal.api('POST', `/v1/approvals/${id}/decision`, { verdict: decided.length % 2 === 0 ? 'approve' : 'deny' });
        decided.push(id);
      }
      await new Promise((next) => setTimeout(next, 5));
    }
  })();
  const runs: string[] = [];
  const count = (name: string): number => runs.reduce((sum, out) => sum + Number(new RegExp(`${name}=(\\d+)`).exec(out)?.[1] ?? Number.NaN), 0);
  try {
    // How often the two threads meet is luck: until it was asked often enough to have been denied as well.
    for (let round = 0; round < 10 && (runs.length === 0 || decided.length < 6 || count('refused') === 0); round += 1) runs.push((await terminal.exec('desk', ['sh', '-c', `cd /workspace && exec ./race flip ${flips}`], 90_000)).out);
  } finally {
    over = true;
    await deciding;
  }
  const ours = new Set(decided);
  const performed = (await terminal.json<Approval[]>(['approvals', 'list', '--all'])).filter((one) => ours.has(one.id) && one.state === 'approved' && one.effect === 'performed').length;
  console.log(`     ${runs.length} × ${flips} flips: ${runs.map((out) => out.trim()).join('; ')}; ${decided.length} asked, ${performed} approved and performed`);
  check.that('it was asked, approved and denied', decided.length > 2 && performed > 0 && count('refused') > 0, runs);
  check.that('exactly the approved deletions happened', count('lost') === performed && count('done') + count('refused') + count('other') >= flips * runs.length, runs);
}

async function unanswered({ check, company, terminal, workspace, instance }: Scene): Promise<void> {
  const file = join(instance.state, 'blueprints/desk/approvals.yaml');
  const short = join(instance.root, 'short-approvals.yaml');
  writeFileSync(short, readFileSync(file, 'utf8').replace('timeout: 10m', 'timeout: 1s'));
  const set = await terminal.run(['policy', 'set', 'desk', short]);
  check.that('questions now wait one second', set.code === 0, set.err);
  const former = new Set((await terminal.json<Approval[]>(['approvals', 'list', '--all'])).map((one) => one.id));
  company.script = () => ({ text: 'I write.', calls: [{ name: 'email_send', args: { to: 'dana@customer.example', subject: 'nobody', body: '' } }] });
  writeFileSync(join(workspace, 'archive/d.csv'), 'd');
  const [mail, put, rm] = await Promise.all([
    terminal.exec('desk', ['python3', '/workspace/agent.py', String(company.port), 'nobody'], 60_000),
    terminal.exec('desk', curl('PUT', order(company, '4'), { hold: true })),
    terminal.exec('desk', ['rm', '/workspace/archive/d.csv']),
  ]);
  check.that('the tool call is refused, and no mail arrived', mail.out.includes('refused_by_policy') && !company.arrived.some((one) => one.body.includes('nobody')), mail.out + mail.err);
  check.that('the request is denied, and nothing arrived', statusOf(put) === 403 && changed(company, '4') === 0, put.out);
  check.that('the deletion is refused, and the file stays', rm.code !== 0 && existsSync(join(workspace, 'archive/d.csv')), rm.err);
  const all = (await terminal.json<Approval[]>(['approvals', 'list', '--all'])).filter((one) => one.state === 'expired' && !former.has(one.id));
  check.that('all three questions say that nobody decided', all.length === 3 && all.every((one) => one.by === 'timeout'), all);
}

/** The JSON object that stands before the status line. */
function jsonOf(out: string): Record<string, unknown> {
  try {
    return JSON.parse(out.trim().split('\n')[0] ?? '') as Record<string, unknown>;
  } catch {
    return {};
  }
}
