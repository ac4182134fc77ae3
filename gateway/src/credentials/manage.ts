/** Giving, taking away and renewing credentials of a sandbox; each change is on record before it has an effect, and in force when the worker says so. */
import { credentialName, NemoError, type Credential, type CredentialView } from '@nemoclaw/contract';
import { getToken } from '@nemoclaw/network-policy';
import { gatewayEvent } from '../backend.ts';
import type { House } from '../house.ts';
import { configOf } from '../sandboxes/bring-up.ts';
import type { LiveSandbox } from '../sandboxes/live.ts';

const perSandbox = 64;
/** Tokens are renewed this long before they end, ms. */
const ahead = 60_000;
/** A token that was got so recently is not got again, ms: the other side refuses it for another reason. */
const freshFor = 10_000;
const retryAfter = 30_000;

export function listCredentials(house: House, name: string): CredentialView[] {
  return house.vault.list(house.sandboxes.must(name).record.value.id);
}

/** Throws NEMO_E_BODY for a bad name, and where there are too many. */
export async function setCredential(house: House, name: string, credential: string, given: Credential, uid: number): Promise<CredentialView> {
  const live = house.sandboxes.must(name);
  const { id } = live.record.value;
  if (!credentialName.safeParse(credential).success) throw new NemoError('NEMO_E_BODY', { what: 'This is not the name of a credential.', fix: 'Use letters, digits, - and _, a letter first.' });
  return house.lock.run(`policy/${id}`, async () => {
    if (house.vault.get(id, credential) === undefined && house.vault.list(id).length >= perSandbox) throw new NemoError('NEMO_E_BODY', { what: `A sandbox has at most ${perSandbox} credentials.` });
    await onRecord(house, live, `The credential ${credential} of ${name} is set.`, uid, { credential, kind: given.kind, ...(given.kind === 'key' ? {} : { host: given.host, port: given.port }) });
    house.vault.set(id, credential, given);
    if (given.kind === 'oauth2') await renew(house, id, credential).catch(() => undefined);
    await inForce(house, live);
    return house.vault.list(id).find((one) => one.name === credential) ?? Promise.reject(new NemoError('NEMO_E_INTERNAL', { what: 'The credential is gone.' }));
  });
}

export async function removeCredential(house: House, name: string, credential: string, uid: number): Promise<void> {
  const live = house.sandboxes.must(name);
  const { id } = live.record.value;
  await house.lock.run(`policy/${id}`, async () => {
    if (house.vault.get(id, credential) === undefined) throw new NemoError('NEMO_E_NOT_FOUND', { what: `The sandbox ${name} has no such credential.` });
    await onRecord(house, live, `The credential ${credential} of ${name} is removed.`, uid, { credential });
    house.vault.remove(id, credential);
    await inForce(house, live);
  });
}

/** A worker says that the other side refused this one. Resolves with whether a newer value is in force. */
export async function renewAsked(house: House, id: string, placeholder: string): Promise<boolean> {
  const found = house.vault.list(id).find((one) => one.placeholder === placeholder && one.kind === 'oauth2');
  const live = house.sandboxes.get(id);
  if (!found || !live) return false;
  return house.lock.run(`policy/${id}`, async () => {
    const token = house.vault.get(id, found.name)?.token;
    if (token !== undefined && house.clock.now() - token.at < freshFor) return true;
    // How often is asked here a worker chooses.
    if (!mayTry(house, id, found.name)) return false;
    await renew(house, id, found.name);
    await inForce(house, live);
    return true;
  });
}

const tried = new WeakMap<House, Map<string, number>>();

function mayTry(house: House, id: string, name: string): boolean {
  const last = tried.get(house) ?? new Map<string, number>();
  tried.set(house, last);
  const key = `${id}/${name}`;
  const now = house.clock.monotonic();
  if (now - (last.get(key) ?? -Infinity) < (house.vault.get(id, name)?.problem === '' ? freshFor : retryAfter)) return false;
  last.set(key, now);
  return true;
}

/** Tokens that end soon get a successor. Called about once a second. */
export async function renewEnding(house: House): Promise<void> {
  for (const { sandbox, name } of house.vault.ending(house.clock.now() + ahead)) {
    const live = house.sandboxes.get(sandbox);
    if (!live || !mayTry(house, sandbox, name)) continue;
    await house.lock.run(`policy/${sandbox}`, async () => {
      await renew(house, sandbox, name);
      await inForce(house, live);
    }).catch(() => undefined);
  }
}

/** Rejects where there is no newer token; the credential then says why. */
async function renew(house: House, id: string, name: string): Promise<void> {
  const kept = house.vault.get(id, name);
  if (kept?.given.kind !== 'oauth2') throw new Error('this is not an access token');
  try {
    const { value, lastsMs, refreshToken } = await getToken(kept.given);
    const at = house.clock.now();
    house.vault.renewed(id, name, { value, at, expires: lastsMs === undefined ? 0 : at + lastsMs }, refreshToken);
    house.audit.emit(gatewayEvent(at, id, `The access token of the credential ${name} was renewed.`, { class: 'authentication', activity: 1, data: { credential: name, host: kept.given.host } }));
  } catch (error) {
    const problem = error instanceof Error ? error.message : 'unknown error';
    house.vault.failed(id, name, problem);
    house.audit.emit(gatewayEvent(house.clock.now(), id, `The access token of the credential ${name} could not be renewed.`, { class: 'authentication', activity: 1, severity: 3, data: { credential: name, problem } }));
    throw error;
  }
}

async function onRecord(house: House, live: LiveSandbox, message: string, uid: number, data: Readonly<Record<string, unknown>>): Promise<void> {
  await house.audit.commit(gatewayEvent(house.clock.now(), live.record.value.id, message, { class: 'configState', activity: 1, severity: 2, data: { uid, ...data } })).catch((cause: unknown) => {
    throw new NemoError('NEMO_E_RECORD', { what: 'Nothing was changed, because the change could not be put on record.', cause });
  });
}

async function inForce(house: House, live: LiveSandbox): Promise<void> {
  if (live.record.value.state === 'running') await house.workers.configure(live.record.value.worker, configOf(house, live));
}
