/** The work that every level must let through, with what it prints; and what a level is there to refuse. */
import type { filesystemLevels, networkLevels, syscallLevels } from '@nemoclaw/contract';

export interface Isolation {
  readonly network: (typeof networkLevels)[number];
  readonly filesystem: (typeof filesystemLevels)[number];
  readonly syscalls: (typeof syscallLevels)[number];
}

export interface Work {
  readonly name: string;
  /** Started in a new folder of its own. */
  readonly command: readonly string[];
  /** What it prints, to the letter. */
  readonly prints: (isolation: Isolation) => string;
}

/** Where the programs of ./programs are seen inside. */
const programsAt = '/workspace/programs';
const at = (name: string): string => `${programsAt}/${name}`;
const same = (text: string) => (): string => text;

export const works: readonly Work[] = [
  { name: 'node', command: ['node', at('node.mjs')], prints: same('threads 3000\nwatch new\nchild 42 PIPE\nstreams true\nkeys true\n') },
  { name: 'python', command: ['/usr/bin/python3', at('python.py')], prints: same('pool 328350\nspawn 14\nshared hi\njournal wal\nrows (1000, 499500)\nthreads 8 42\nfile 1048576\n') },
  { name: 'git', command: ['/bin/sh', at('git.sh')], prints: same('log 4\nclone 3 4\nworktree side 2\nclean 0\n') },
  { name: 'gcc, make', command: ['/bin/sh', at('build.sh')], prints: same('program 42\nagain 42\n') },
  { name: 'npm', command: ['/bin/sh', at('npm.sh')], prints: same('script installed\nsaid installed\n') },
  { name: 'pip', command: ['/bin/sh', at('pip.sh')], prints: same('wheel installed\n') },
  { name: 'tar, zip, sort', command: ['/bin/sh', at('files.sh')], prints: same('tar 600 7\nzip 300\nsort 300000\npipe through\nlock held\n301\n978307200\n') },
  // `network: none` is the one level without TCP, also on loopback.
  { name: 'server', command: ['node', at('server.mjs')], prints: ({ network }) => `tcp ${network === 'none' ? 'EACCES' : 'answer to PUT'}\nsocket answer to PUT\n` },
];

/** The same words whatever the level: a commit in the project itself, which `read-only` refuses. */
export const commitCommand = ['/usr/bin/git', '-C', '/workspace/project', '-c', 'user.name=a', '-c', 'user.email=a@localhost', 'commit', '-q', '--allow-empty', '-m', 'inside'];

/** Where there is a folder that may be filled. */
export const workFolder = ({ filesystem }: Isolation): string => (filesystem === 'read-only' ? '/tmp/work' : '/workspace/work');
