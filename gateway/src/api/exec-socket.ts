/** A command of a sandbox over a WebSocket: bytes in binary frames, everything else in text frames. */
import type { Writable } from 'node:stream';
import { execClientFrameSchema, execStartSchema, NemoError, runStartSchema, safeLine, streamId, type ExecServerFrame } from '@nemoclaw/contract';
import type { RawData, WebSocket } from 'ws';
import type { House } from '../house.ts';
import { environmentOf } from '../sandboxes/bring-up.ts';
import type { LiveSandbox } from '../sandboxes/live.ts';
import { drive } from '../sandboxes/drive.ts';
import { agentCommand } from '../tasks/agent-command.ts';
import type { Running } from '../tasks/execs.ts';
import { mustRun, startTask, type RunningTask } from '../tasks/run.ts';
import { findTask } from '../tasks/task-store.ts';
import { conclude, deliver, emptied, letGo, maxWaiting } from './exec-output.ts';
import { asNemoError, bodyFor } from './problems.ts';

/** Bytes of input that a command has not read: more ends it. */
const mostInput = 64 * 1024 * 1024;
/** Bytes of it that say that the client does not wait, or does not hear that it should. */
const unheeded = 4 * maxWaiting;
/** ms after which a client that was slowed down is heard again. */
const listenMs = 500;
/** ms a command whose client went away has to end by itself. */
const orphanMs = 3000;
const hangUp = 1;
const kill = 9;

function say(ws: WebSocket, frame: ExecServerFrame): void {
  if (ws.readyState === ws.OPEN) ws.send(JSON.stringify(frame));
}

function fail(ws: WebSocket, thrown: unknown): void {
  say(ws, { t: 'error', error: bodyFor(asNemoError(thrown)).error });
  ws.close();
}

/** The first frame, parsed; everything after it goes to the handler that is set later, in order. */
function openDialogue(ws: WebSocket): { first: Promise<unknown>; rest: (handler: (data: Buffer, binary: boolean) => void) => void } {
  const early: [Buffer, boolean][] = [];
  let handler: ((data: Buffer, binary: boolean) => void) | undefined;
  const first = new Promise<unknown>((resolve, reject) => {
    let begun = false;
    ws.on('message', (raw: RawData, binary: boolean) => {
      const data = Array.isArray(raw) ? Buffer.concat(raw) : Buffer.from(raw as Buffer);
      if (begun) {
        if (handler) handler(data, binary);
        else early.push([data, binary]);
        return;
      }
      begun = true;
      try {
        if (binary) throw new SyntaxError('binary');
        resolve(JSON.parse(data.toString('utf8')));
      } catch {
        reject(new NemoError('NEMO_E_BODY', { what: 'The first frame must be JSON text.' }));
      }
    });
    ws.on('close', () => reject(new NemoError('NEMO_E_BODY', { what: 'The connection was closed before the first frame.' })));
  });
  return {
    first,
    rest: (given) => {
      handler = given;
      for (const [data, binary] of early.splice(0)) given(data, binary);
    },
  };
}

/**
 * Input for a command that may not read it. The client is told to wait. One that does not is slowed down; now and then it is heard all the same, since signals
 * and its going away come the same way. What it sends beyond all measure ends the connection, and with it the command.
 */
function input(ws: WebSocket, stdin: Writable, data: Buffer): void {
  const told = stdin.writableLength > maxWaiting;
  stdin.write(data);
  if (stdin.writableLength > mostInput) return fail(ws, new NemoError('NEMO_E_EXEC', { what: 'The command does not read its input.' }));
  if (stdin.writableLength <= maxWaiting) return;
  if (!told) {
    const more = (): void => {
      stdin.off('drain', more).off('close', more);
      say(ws, { t: 'input', more: true });
    };
    say(ws, { t: 'input', more: false });
    stdin.on('drain', more).on('close', more);
  }
  if (stdin.writableLength <= unheeded || ws.isPaused) return;
  ws.pause();
  const go = (): void => {
    clearTimeout(look);
    stdin.off('drain', go).off('close', go);
    ws.resume();
  };
  const look = setTimeout(go, listenMs);
  look.unref();
  stdin.on('drain', go).on('close', go);
}

/** Connects socket and command both ways. Resolves when the command has ended and its output is delivered. */
async function couple(house: House, ws: WebSocket, running: Running, rest: ReturnType<typeof openDialogue>['rest']): Promise<void> {
  running.stdin.on('error', () => undefined);
  const outputs = [[streamId.stdout, running.stdout] as const, ...(running.stderr ? [[streamId.stderr, running.stderr] as const] : [])];
  deliver(ws, outputs);
  const ignore = (): undefined => undefined;
  rest((data, binary) => {
    if (binary) {
      if (data[0] === streamId.stdin && running.stdin.writable) input(ws, running.stdin, data.subarray(1));
      return;
    }
    let frame: unknown;
    try {
      frame = JSON.parse(data.toString('utf8'));
    } catch {
      return fail(ws, new NemoError('NEMO_E_BODY', { what: 'A text frame that is not JSON.' }));
    }
    const parsed = execClientFrameSchema.safeParse(frame);
    if (!parsed.success) return fail(ws, new NemoError('NEMO_E_BODY', { what: 'A frame that is not known.' }));
    if (parsed.data.t === 'eof') running.stdin.end();
    else if (parsed.data.t === 'signal') house.execs.signal(running, parsed.data.signal).catch(ignore);
    else house.execs.resize(running, parsed.data.rows, parsed.data.cols).catch(ignore);
  });
  let over = false;
  const orphaned = (): void => {
    if (over) return;
    house.execs.signal(running, hangUp).catch(ignore);
    setTimeout(() => {
      if (!over) house.execs.signal(running, kill).catch(ignore);
    }, orphanMs).unref();
  };
  ws.on('close', orphaned);
  if (ws.readyState !== ws.OPEN) orphaned();
  await running.ended;
  over = true;
  letGo(ws, () => house.sandboxes.get(running.sandbox)?.record.value.state !== 'running');
  const closed = new Promise((resolve) => (ws.readyState === ws.CLOSED ? resolve(undefined) : ws.on('close', resolve)));
  await Promise.race([Promise.all(outputs.map(([, stream]) => emptied(stream))), closed]);
  for (const stream of [running.stdin, running.stdout, running.stderr]) stream?.destroy();
}

/** WS /v1/sandboxes/:name/exec */
export async function serveExec(house: House, name: string, uid: number, ws: WebSocket): Promise<void> {
  const dialogue = openDialogue(ws);
  try {
    const parsed = execStartSchema.safeParse(await dialogue.first);
    if (!parsed.success || (!parsed.data.agent && parsed.data.argv.length === 0)) throw new NemoError('NEMO_E_BODY', { what: 'The first frame does not say what to run.' });
    const live = house.sandboxes.must(name);
    mustRun(live);
    await drive(house, live, uid);
    const { argv, agent, env, cwd, tty } = parsed.data;
    const running = await house.execs.start({
      sandbox: live.record.value.id,
      argv: agent ? agentCommand(live.bundle.blueprint.agent, undefined) : argv,
      env: environmentOf(house, live, env),
      cwd: cwd === '' ? live.record.value.cwd : cwd,
      tty,
    });
    say(ws, { t: 'started', execId: running.execId, pid: running.pid, taskId: '' });
    await couple(house, ws, running, dialogue.rest);
    conclude(ws, { t: 'exit', ...(await running.ended) });
  } catch (error) {
    fail(ws, error);
  }
}

/** A notice for each new state of the task's approvals. Returns how to stop. */
function tellOfApprovals(house: House, sandbox: string, task: string, ws: WebSocket): () => void {
  const told = new Map<string, string>();
  return house.notices.listen(sandbox, (approval) => {
    if (approval.task !== task || told.get(approval.id) === approval.state) return;
    told.set(approval.id, approval.state);
    const { id, state, by, card } = approval;
    const text = state === 'waiting' ? `Waiting for approval: ${card.summary.replace(/\.$/, '')}. Decide with \`nemoclaw approvals show ${id}\`.` : `${state === 'granted' ? 'Approved' : state.charAt(0).toUpperCase() + state.slice(1)} by ${by}: ${card.summary}`;
    say(ws, { t: 'notice', text: safeLine(text, 600), approvalId: id });
  });
}

/** A task that was taken up after a restart, for whoever gave it; once. */
async function resumedTask(house: House, live: LiveSandbox, id: string, uid: number): Promise<RunningTask> {
  const record = await findTask(house, id);
  const task = house.resumed.get(id);
  if (task === undefined || record?.by !== uid || task.running.sandbox !== live.record.value.id) throw new NemoError('NEMO_E_NOT_FOUND', { what: 'No task of yours by that id was taken up again.' });
  house.resumed.delete(id);
  return task;
}

/** WS /v1/sandboxes/:name/run */
export async function serveRun(house: House, name: string, uid: number, ws: WebSocket): Promise<void> {
  const dialogue = openDialogue(ws);
  let unlisten = (): void => undefined;
  try {
    const parsed = runStartSchema.safeParse(await dialogue.first);
    if (!parsed.success) throw new NemoError('NEMO_E_BODY', { what: 'The first frame does not say what the task is.' });
    const live = house.sandboxes.must(name);
    const task = 'task' in parsed.data ? await startTask(house, live, parsed.data.task, uid) : await resumedTask(house, live, parsed.data.attach, uid);
    unlisten = tellOfApprovals(house, live.record.value.id, task.id, ws);
    // The end is recorded whether or not anybody still listens.
    const finished = task.finish();
    finished.catch(() => undefined);
    say(ws, { t: 'started', execId: task.running.execId, pid: task.running.pid, taskId: task.id });
    await couple(house, ws, task.running, dialogue.rest);
    const { code, table } = await finished;
    conclude(ws, { t: 'done', code, taskId: task.id, table });
  } catch (error) {
    fail(ws, error);
  } finally {
    unlisten();
  }
}
