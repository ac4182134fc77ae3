/** `nemoclaw policy validate file…`: checks files without applying them; needs no running NemoClaw. */
import type { CommonFlags } from '../command.ts';
import { say, sayJson, type CliContext } from '../context.ts';
import { Failure } from '../failure.ts';
import { checkBlueprintFolder, checkPolicyFile, readPolicyFiles } from '../policy-files.ts';

export async function run(this: CliContext, flags: CommonFlags, ...paths: string[]): Promise<void> {
  const checked: { file: string; kind: string; findings: string[] }[] = [];
  for (const path of paths) {
    const folder = await checkBlueprintFolder(path, this.world.cwd);
    if (folder) checked.push(folder);
    else for (const file of readPolicyFiles([path], this.world.cwd)) checked.push({ file: file.path, kind: await checkPolicyFile(file), findings: [] });
  }
  if (checked.length === 0) throw new Failure('NEMO_E_USAGE', { what: 'There is no policy file there.', fix: 'Give files that end in .yaml, .yml or .json.' });
  if (flags.json) return sayJson(this, checked);
  for (const { file, kind, findings } of checked) {
    say(this, `+ ok  ${file}  (${kind})`);
    for (const finding of findings) say(this, `  !  ${finding}`);
  }
}
