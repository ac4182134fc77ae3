/** Questions at a terminal that is played: which keys count, in which order questions stand, and what ends one without an answer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { HoldRequest } from './ports.ts';
import { terminalQuestions, type QuestionTerminal } from './terminal-questions.ts';

class Played implements QuestionTerminal {
  shown = '';
  closed = false;
  press: (keys: string) => void = () => undefined;
  goAway: () => void = () => undefined;
  write(text: string): void {
    this.shown += text;
  }
  onKeys(listener: (keys: string) => void): void {
    this.press = listener;
  }
  onGone(listener: () => void): void {
    this.goAway = listener;
  }
  close(): void {
    this.closed = true;
  }
}

const hold = (patienceMs = 900_000): HoldRequest => ({ holdId: 'h1', summary: 'rm wants \x1b[2J to delete', decision: { rules: [{ id: 'r[0]', file: 'p.yaml', line: 3 }] }, patienceMs }) as unknown as HoldRequest;
function questions(quiet: number): { readonly opened: Played[]; readonly paused: string[]; ask(signal?: AbortSignal, patienceMs?: number): Promise<{ verdict: string }> } {
  const opened: Played[] = [];
  const paused: string[] = [];
  const approver = terminalQuestions({ name: 'test', quiet, pause: () => (paused.push('pause'), () => void paused.push('on')), open: () => (opened.push(new Played()), opened.at(-1)) });
  return { opened, paused, ask: (signal = new AbortController().signal, patienceMs) => approver.ask(hold(patienceMs), signal) };
}
/** Presses them until the question is answered: what comes too soon counts for nothing. */
async function answered(asked: Promise<{ verdict: string }>, opened: readonly Played[], keys: string, at = 0): Promise<string> {
  let verdict: string | undefined;
  void asked.then((outcome) => (verdict = outcome.verdict));
  while (verdict === undefined) {
    await pause(20);
    opened[at]?.press(keys);
  }
  return verdict;
}

test('a allows, d and what ends a program deny; the question shows what, by which rule, and nothing that a terminal obeys', async () => {
  for (const [keys, verdict] of [['a', 'allow'], ['A', 'allow'], ['d', 'deny'], ['xd', 'deny'], ['\x03', 'deny'], ['\x04', 'deny'], ['\x1b', 'deny']] as const) {
    const { ask, opened, paused } = questions(1);
    assert.equal(await answered(ask(), opened, keys), verdict, JSON.stringify(keys));
    assert.deepEqual([paused, opened[0]?.closed], [['pause', 'on'], true]);
    assert.match(opened[0]?.shown ?? '', /test asks:\r\n {2}rm wants \\u\{1b\}\[2J to delete\r\n {2}rule: r\[0\] at p\.yaml:3\r\n.*in 900 s\) (allowed|denied)\r\n$/);
  }
});

test('of a request all is shown that is asked about, and what is not is said', async () => {
  const played = new Played();
  const asked = (detail: string): Promise<unknown> => terminalQuestions({ name: 'test', quiet: 1, pause: () => () => undefined, open: () => played }).ask({ ...hold(), kind: 'http', detail }, new AbortController().signal);
  const first = asked('POST /transfer?to=mallory\nhost: bank.test\n\n{"amount":1000000}\x1b[2J');
  await answered(first as Promise<{ verdict: string }>, [played], 'd');
  assert.match(played.shown, /to delete\r\n {2}\| POST \/transfer\?to=mallory\r\n {2}\| host: bank\.test\r\n {2}\| \r\n {2}\| \{"amount":1000000\}\\u\{1b\}\[2J\r\n {2}rule:/);
  await answered(asked(Array.from({ length: 40 }, (_, i) => `line ${i}`).join('\n')) as Promise<{ verdict: string }>, [played], 'd');
  assert.match(played.shown, /\| line 29\r\n {2}\| … \(10 more lines, which are not shown\)/);
});

test('what is typed before a pause, or pasted, is no answer', async () => {
  const soon = questions(60_000);
  const early = soon.ask();
  await pause(1);
  for (let i = 0; i < 5; i += 1) soon.opened[0]?.press('a');
  soon.opened[0]?.goAway();
  assert.equal((await early).verdict, 'unavailable');
  const { ask, opened } = questions(1);
  const pasted = ask();
  for (let i = 0; i < 5; i += 1) {
    await pause(20);
    opened[0]?.press('aa');
  }
  assert.equal(await answered(pasted, opened, 'd'), 'deny');
});

test('where the terminal goes away, the question is withdrawn or nobody answers in time, nothing is allowed', async () => {
  const gone = questions(1);
  const first = gone.ask();
  await pause(1);
  gone.opened[0]?.goAway();
  assert.equal((await first).verdict, 'unavailable');
  const withdrawn = questions(1);
  const control = new AbortController();
  const second = withdrawn.ask(control.signal);
  await pause(1);
  control.abort();
  assert.equal((await second).verdict, 'unavailable');
  assert.equal((await withdrawn.ask(control.signal)).verdict, 'unavailable');
  assert.equal(withdrawn.opened.length, 1, 'what was withdrawn before is not shown');
  assert.equal((await questions(1).ask(undefined, 5)).verdict, 'unavailable');
  assert.equal((await terminalQuestions({ name: 'none', open: () => undefined, pause: () => assert.fail('nothing stands') }).ask(hold(), control.signal)).verdict, 'unavailable');
});

test('one question stands at a time', async () => {
  const { ask, opened } = questions(1);
  const [first, second] = [ask(), ask()];
  assert.equal(await answered(first, opened, 'a'), 'allow');
  assert.equal(opened[0]?.closed, true);
  assert.equal(await answered(second, opened, 'd', 1), 'deny');
  assert.equal(opened.length, 2);
});
