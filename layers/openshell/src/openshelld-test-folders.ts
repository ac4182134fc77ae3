/** For tests: folders of somebody, and why a registration of one was refused. */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { TestInstance } from './openshelld-test-instance.ts';

/** Makes the folder `name` below `parent`, with its parents, owned by `uid`; its path. */
export function folderOf(parent: string, name: string, uid: number, mode = 0o755): string {
  const path = join(parent, name);
  mkdirSync(path, { recursive: true });
  chmodSync(path, mode);
  chownSync(path, uid, uid);
  return path;
}

/** The code with which `path` is refused as a workspace, asked for by `uid` (root if not given). */
export async function refusalOf(instance: TestInstance, path: string, uid?: number): Promise<string> {
  const reply = await instance.register(path, uid);
  assert.equal(reply.ok, false, path);
  return reply.ok ? '' : reply.code;
}
