/** `nemoclaw onboard`: sets up this machine and a first assistant; called again it finds what is there and says so. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadBlueprint, loadInference, type Blueprint, type CreateSandbox, type SandboxView } from '@nemoclaw/contract';
import type { CommonFlags } from '../command.ts';
import { note, say, sayJson, type CliContext } from '../context.ts';
import { AnsweredFailure, Failure } from '../failure.ts';
import { call } from '../gateway-client.ts';
import { sandboxPath } from '../sandbox-path.ts';
import { installableAgents, installAgent, isInstalled } from '../setup/agent-install.ts';
import { blueprintFolder } from '../setup/blueprint-folder.ts';
import { needDemo } from '../setup/demo-ready.ts';
import { answersFrom, type AnswerFlags, type Answers } from '../setup/onboard-answers.ts';
import { preflight } from '../setup/preflight.ts';
import { Progress } from '../setup/progress.ts';
import { prepareIdentities, startInstance, needRoot } from '../setup/start-instance.ts';
import { checkWorkspace, restoreWorkspace, withWorkspace, workspacePath } from '../setup/workspace.ts';
import { summaryBox } from '../summary-box.ts';

export interface OnboardFlags extends CommonFlags, AnswerFlags {
  readonly agent?: string;
  readonly workspace?: string;
}

export async function run(this: CliContext, flags: OnboardFlags): Promise<void> {
  needRoot(this, 'Setting up this machine');
  const answers = await answersFrom(this, flags);
  const progress = new Progress(this);
  await progress.step(
    'check this machine',
    () => checkMachine(this),
    (warnings) => (warnings.length === 0 ? 'all good' : warnings.join('; ')),
  );
  const folder = blueprintFolder(this.places, answers.blueprint);
  const blueprint = readBlueprint(folder, answers.blueprint);
  if (flags.agent !== undefined && flags.agent !== blueprint.agent.kind) {
    throw new Failure('NEMO_E_BLUEPRINT', {
      what: `The blueprint ${blueprint.name} runs the agent ${blueprint.agent.kind}, not ${flags.agent}.`,
      fix: 'Leave --agent out, or choose another blueprint with --blueprint.',
    });
  }
  if (flags.workspace !== undefined) checkWorkspace(workspacePath(this, answers.name, flags.workspace));
  if (providersOf(answers, blueprint, folder).includes('demo')) await needDemo(this.places);
  const identities = await progress.step('system users', () => prepareIdentities(this));
  await progress.step(
    'start the services',
    () => startInstance(this, identities),
    ({ started, status }) => `${started ? 'started' : 'were running'}, tier ${status.host.tier}`,
  );
  await progress.step(
    `agent ${blueprint.agent.kind}`,
    () => provideAgent(this, blueprint.agent.kind),
    (what) => what,
  );
  const { sandbox, created } = await progress.step(
    `sandbox ${answers.name}`,
    () => provideSandbox(this, answers, blueprint, folder, flags.workspace),
    (result) => result.said,
  );
  const { held, tried } = await progress.step(
    'proof of enforcement from inside',
    () => proofOf(sandbox),
    (proof) => `${proof.held} of ${proof.tried} forbidden things tried and stopped`,
  );
  if (flags.json) return sayJson(this, { sandbox, created, steps: progress.steps, proof: { held, tried } });
  say(this, `\n${summaryBox(sandbox)}`);
}

function checkMachine(context: CliContext): string[] {
  // users are made by the next step
  const checks = preflight(context.places).filter((check) => check.name !== 'users');
  const failed = checks.filter((check) => check.state === 'failed');
  if (failed.length > 0) throw new Failure('NEMO_E_SETUP', { what: `This machine is not ready: ${failed.map((check) => check.text).join('; ')}.`, fix: failed.map((check) => check.fix).join(' ') });
  return checks.filter((check) => check.state === 'warning').map((check) => `${check.name}: ${check.text}`);
}

function readBlueprint(folder: string, name: string): Blueprint {
  const file = join(folder, 'blueprint.yaml');
  if (!/^[a-z][a-z0-9-]*$/.test(name) || !existsSync(file)) throw new Failure('NEMO_E_BLUEPRINT', { what: `There is no blueprint '${name}'.`, fix: 'Leave --blueprint out to use a shipped one.' });
  return loadBlueprint(readFileSync(file, 'utf8'), file);
}

/** Kinds of the providers that the sandbox is to have. */
function providersOf({ provider }: Answers, { files }: Blueprint, folder: string): string[] {
  if (provider !== undefined) return [provider.kind];
  const file = files.inference === undefined ? undefined : join(folder, files.inference);
  return file === undefined || !existsSync(file) ? [] : loadInference(readFileSync(file, 'utf8'), file).providers.map(({ kind }) => kind);
}

async function provideAgent(context: CliContext, kind: string): Promise<string> {
  if (!installableAgents().includes(kind)) return 'part of the system';
  if (isInstalled(context.places, kind)) return 'installed already';
  await installAgent(context.places, kind);
  return 'installed from npm, versions pinned';
}

async function provideSandbox(
  context: CliContext,
  answers: Answers,
  blueprint: Blueprint,
  folder: string,
  workspace: string | undefined,
): Promise<{ sandbox: SandboxView; created: boolean; said: string }> {
  const existing = await find(context, answers.name);
  if (existing) {
    if (existing.blueprint.name !== answers.blueprint)
      throw new Failure('NEMO_E_NAME', { what: `${answers.name} exists already, from the blueprint ${existing.blueprint.name}.`, fix: 'Choose another --name, or destroy it first.' });
    if (answers.provider !== undefined && existing.provider.kind !== answers.provider.kind)
      note(context, `note: ${answers.name} keeps its provider ${existing.provider.kind}; to change it, destroy the sandbox first.`);
    if (existing.state !== 'stopped' && existing.state !== 'failed') return { sandbox: existing, created: false, said: 'was there already and is used as it is' };
    await restoreWorkspace(context, existing);
    return { sandbox: await call<SandboxView>(context, 'POST', sandboxPath(answers.name, '/start')), created: false, said: 'was there already; started' };
  }
  const path = workspacePath(context, answers.name, workspace);
  const seed = blueprint.workspace.seed === undefined ? undefined : join(folder, blueprint.workspace.seed);
  const create = (registration: string): Promise<SandboxView> => {
    const wanted: CreateSandbox = { name: answers.name, blueprint: answers.blueprint, registration, ...(answers.provider ? { provider: answers.provider } : {}) };
    return call<SandboxView>(context, 'POST', '/v1/sandboxes', wanted);
  };
  return { sandbox: await withWorkspace(context, path, seed, create), created: true, said: `made, workspace ${path}` };
}

async function find(context: CliContext, name: string): Promise<SandboxView | undefined> {
  try {
    return await call<SandboxView>(context, 'GET', sandboxPath(name));
  } catch (error) {
    if (error instanceof AnsweredFailure && error.body.code === 'NEMO_E_NOT_FOUND') return undefined;
    throw error;
  }
}

/** The sandbox proved itself when it was made; nothing less than everything counts. */
function proofOf(sandbox: SandboxView): { held: number; tried: number } {
  const results = Object.entries(sandbox.probe);
  const open = results.filter(([, held]) => !held).map(([name]) => name);
  if (results.length === 0 || open.length > 0) {
    throw new Failure('NEMO_E_PROBE', { what: results.length === 0 ? 'The sandbox gave no proof of what it enforces.' : `The sandbox does not stop: ${open.join(', ')}.` });
  }
  return { held: results.length - open.length, tried: results.length };
}
