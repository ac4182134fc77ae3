/** The real backend: openshelld through its client, descriptors wrapped as streams. */
import { Socket } from 'node:net';
import { ReadStream } from 'node:tty';
import type { Backend, ExecRequest, Started } from '../backend.ts';
import { OpenshelldError, type OpenshelldClient } from '@nemoclaw/openshell';

function pipe(fd: number | undefined, readable: boolean): Socket {
  if (fd === undefined) throw new OpenshelldError('protocol', 'openshelld sent no descriptor');
  return new Socket({ fd, readable, writable: !readable });
}

/** A terminal is one descriptor for both directions; its end is an error (EIO) that means nothing else. */
function terminal(fd: number | undefined): ReadStream {
  if (fd === undefined) throw new OpenshelldError('protocol', 'openshelld sent no descriptor');
  const stream = new ReadStream(fd);
  stream.on('error', () => stream.destroy());
  return stream;
}

/** `client` may be made later than the backend, since each needs the other. */
export function openshelldBackend(client: () => OpenshelldClient): Backend {
  return {
    host: async () => ({ ...(await client().host()) }),
    workspaces: () => client().workspaces(),
    create: ({ sandbox, plan, registration, worker }) => client().create(sandbox, plan, registration, worker),
    exec: async ({ sandbox, execId, argv, env, cwd, tty }: ExecRequest): Promise<Started> => {
      const { pid, fds } = await client().exec(sandbox, execId, { argv, env, cwd, tty });
      if (tty) {
        const stream = terminal(fds[0]);
        return { execId, pid, stdin: stream, stdout: stream, stderr: null };
      }
      return { execId, pid, stdin: pipe(fds[0], false), stdout: pipe(fds[1], true), stderr: pipe(fds[2], true) };
    },
    attach: async (sandbox, execId) => {
      const { pid, fds } = await client().execAttach(sandbox, execId);
      return fds.length === 1 ? { pid, stdout: terminal(fds[0]), stderr: null } : { pid, stdout: pipe(fds[0], true), stderr: pipe(fds[1], true) };
    },
    signal: (sandbox, execId, signal) => client().execSignal(sandbox, execId, signal),
    resize: (sandbox, execId, rows, cols) => client().execResize(sandbox, execId, rows, cols),
    destroy: (sandbox) => client().destroy(sandbox),
    freeze: (sandbox, frozen) => client().freeze(sandbox, frozen),
    layer: (sandbox, op, name) => client().layer(sandbox, op, name),
    flush: (sandbox) => client().flush(sandbox),
    seen: (sandbox) => client().seen(sandbox),
    answerHold: async (sandbox, holdId, verdict) => {
      await client().answerHold(sandbox, holdId, verdict);
    },
  };
}
