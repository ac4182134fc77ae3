/** What must keep working in the sandbox in which the attacks fail. */
import { chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { loadSandboxPolicy } from '@nemoclaw/contract';
import { launchAlone, planFor, readHostFacts } from '@nemoclaw/openshell';
import { policyFactsOf, readLaunchFacts } from '../../layers/openshell/src/launch-facts.ts';
import type { Checks } from '../harness/checks.ts';
import { standardSpec } from './table.ts';

interface Control {
  readonly title: string;
  readonly command: readonly string[];
  readonly code?: number;
  readonly out: RegExp;
  /** A file of the workspace afterwards, as seen outside. */
  readonly left?: readonly [string, RegExp];
}

const sh = (script: string): string[] => ['/bin/sh', '-c', script];
const python = (script: string): string[] => ['/usr/bin/python3', '-c', script];
const node = (script: string): string[] => ['node', '-e', script];

export const controlList: readonly Control[] = [
  { title: 'write and run a script in the workspace', command: sh('printf "#!/bin/sh\\necho ran" >s; chmod +x s; ./s'), out: /^ran$/m, left: ['s', /ran/] },
  { title: 'node, with its thread pool and a worker', command: node("const {Worker}=require('worker_threads'); require('fs').readFile('/etc/hostname',()=>new Worker('require(\"worker_threads\").parentPort.postMessage(7)',{eval:true}).on('message',(n)=>console.log('worker',n)))"), out: /^worker 7$/m },
  { title: 'python', command: python('import json,ssl,sqlite3,hashlib; print("py", sum(range(5)))'), out: /^py 10$/m },
  { title: 'git init, commit, log', command: sh('git init -q repo && cd repo && git config user.email a@b && git config user.name a && echo x >f && git add f && git commit -qm one && git log --oneline'), out: / one$/m, left: ['repo/f', /x/] },
  { title: 'gcc compiles, the program runs', command: sh('echo "int puts(const char*); int main(void){puts(\\"compiled\\"); return 0;}" >a.c && gcc -o a a.c && ./a'), out: /^compiled$/m },
  { title: 'a loopback server and its client', command: python('import socket,threading\ns=socket.create_server(("127.0.0.1",0))\nt=threading.Thread(target=lambda:s.accept()[0].sendall(b"hello")); t.start()\nc=socket.create_connection(s.getsockname()); print(c.recv(9).decode()); t.join()'), out: /^hello$/m },
  { title: 'a named Unix socket in the workspace', command: python('import socket,threading\ns=socket.socket(socket.AF_UNIX); s.bind("/workspace/sock"); s.listen()\nt=threading.Thread(target=lambda:s.accept()[0].sendall(b"named")); t.start()\nc=socket.socket(socket.AF_UNIX); c.connect("/workspace/sock"); print(c.recv(9).decode()); t.join()'), out: /^named$/m },
  { title: 'an abstract Unix socket of its own', command: python('import socket,threading\ns=socket.socket(socket.AF_UNIX); s.bind("\\0mine"); s.listen()\nt=threading.Thread(target=lambda:s.accept()[0].sendall(b"abstract")); t.start()\nc=socket.socket(socket.AF_UNIX); c.connect("\\0mine"); print(c.recv(9).decode()); t.join()'), out: /^abstract$/m },
  { title: 'pipes', command: sh('seq 1000 | sort -rn | head -n 1 | tr -d "\\n" | cat'), out: /^1000$/ },
  { title: 'a named pipe', command: sh('mkfifo p; echo through >p & cat p; wait'), out: /^through$/m },
  { title: 'threads', command: python('import threading\nn=[]\nts=[threading.Thread(target=n.append,args=(i,)) for i in range(32)]\n[t.start() for t in ts]; [t.join() for t in ts]; print("threads",len(n))'), out: /^threads 32$/m },
  { title: 'multiprocessing: POSIX semaphores, queue, shared memory', command: python('import multiprocessing as m\nfrom multiprocessing import shared_memory as s\ndef f(l,q):\n    with l: q.put(1)\nl=m.Lock(); q=m.Queue(); ps=[m.Process(target=f,args=(l,q)) for _ in range(3)]\n[p.start() for p in ps]; print("many",sum(q.get() for _ in ps)); [p.join() for p in ps]\nx=s.SharedMemory(create=True,size=64); x.buf[0]=9; y=s.SharedMemory(x.name); print("shared",y.buf[0]); y.close(); x.close(); x.unlink()'), out: /many 3\nshared 9/ },
  { title: '/dev/shm is writable', command: sh('echo s >/dev/shm/x && cat /dev/shm/x'), out: /^s$/m },
  { title: 'socketpair, and a descriptor sent through it', command: python('import socket,os\na,b=socket.socketpair(); r,w=os.pipe(); socket.send_fds(a,[b"x"],[w]); _,f,_,_=socket.recv_fds(b,1,1); os.write(f[0],b"sent"); print(os.read(r,9).decode())'), out: /^sent$/m },
  { title: 'ptrace of an own child', command: python('import ctypes,os,signal\np=ctypes.CDLL(None).ptrace\nc=os.fork()\nif c==0:\n    p(0,0,0,0); os.execv("/usr/bin/true",["true"])\n_,s=os.waitpid(c,0); print("traced",os.WIFSTOPPED(s) and os.WSTOPSIG(s)==signal.SIGTRAP and p(7,c,0,0)==0, os.waitpid(c,0)[1])'), out: /^traced True 0$/m },
  { title: 'a signal between own processes', command: sh('sleep 30 & kill -TERM $!; wait $!; echo ended $?'), out: /^ended 143$/m },
  { title: 'the exit code comes out', command: sh('exit 37'), code: 37, out: /^$/ },
  { title: 'the signal comes out as a shell reports it', command: sh('kill -KILL $$'), code: 137, out: /^$/ },
  { title: '/tmp, $TMPDIR and $HOME are writable', command: sh('echo a >/tmp/a && echo b >"$TMPDIR/b" && echo c >"$HOME/c" && cat /tmp/a /tmp/b ~/c'), out: /^a\nb\nc$/m },
  { title: '/proc/self, /dev/null, /dev/urandom, /dev/stdin', command: sh('read -r n _ </proc/self/stat; echo x >/dev/null; head -c 4 /dev/urandom | wc -c; echo in | cat /dev/stdin; [ "$n" -gt 0 ] && echo self'), out: /4\nin\nself/ },
  { title: 'rename, delete, link, chmod, mmap in the workspace', command: sh('mkdir d; echo k >d/f; mv d/f d/g; ln d/g d/h; ln -s g d/i; chmod 600 d/g; python3 -c "import mmap; f=open(\'d/g\',\'r+b\'); m=mmap.mmap(f.fileno(),0); m[0:1]=b\'K\'; m.close()"; rm d/h; cat d/i; rm -r d; ls'), out: /^K$/m },
  { title: 'a fork of a hundred', command: sh('i=0; while [ $i -lt 100 ]; do true & i=$((i+1)); done; wait; echo forked'), out: /^forked$/m },
  { title: 'timers, epoll, inotify', command: node("const fs=require('fs'); const w=fs.watch('/workspace',()=>{w.close();console.log('noticed')}); setTimeout(()=>fs.writeFileSync('/workspace/noticed','x'),20)"), out: /^noticed$/m },
];

/** In nobody's range: the plain user of tier C. */
const person = { uid: 0x7a300000, gid: 0x7a300000 };

export async function controls(check: Checks): Promise<void> {
  await controlsOf(check, 'B');
  await controlsOf(check, 'C');
}

async function controlsOf(check: Checks, tier: 'B' | 'C'): Promise<void> {
  check.section(`what must keep working in the same sandbox, tier ${tier}`);
  const facts = readHostFacts({ nodeBinary: process.execPath });
  const host = tier === 'C' ? { ...facts, limits: policyFactsOf(readLaunchFacts(person)).limits } : facts;
  const policy = loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: attacked }\nspec: { ${standardSpec} }\n`, 'attacked.yaml');
  const plan = planFor(policy, host, { hasWorkspace: true, escalations: 'refuse' });
  for (const { title, command, code = 0, out, left } of controlList) {
    const workspace = mkdtempSync('/tmp/nca-workspace-');
    mkdirSync(join(workspace, 'vault')); // what the policy denies lies in it
    if (tier === 'C') for (const path of ['', 'vault']) chownSync(join(workspace, path), person.uid, person.gid);
    try {
      const result = await launchAlone(plan, { command, workspace, bindRoots: host.bindRoots, stdio: 'pipe', ...(tier === 'C' ? { as: person } : {}) });
      const file = left === undefined || (existsSync(join(workspace, left[0])) && left[1].test(readFileSync(join(workspace, left[0]), 'utf8')));
      check.that(title, result.code === code && out.test(result.stdout.trim()) && file, { code: result.code, out: result.stdout, err: result.stderr });
    } finally {
      rmSync(workspace, { recursive: true, force: true });
    }
  }
}
