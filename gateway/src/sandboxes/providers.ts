/** Which model providers a sandbox gets: the blueprint's, or the one that was asked for. */
import { isIP } from 'node:net';
import { NemoError, type CreateSandbox, type PolicyBundle, type ProviderPlan, type ProviderView } from '@nemoclaw/contract';
import type { ProviderRecord } from './record.ts';

type Kind = ProviderRecord['kind'];

/** Defaults of each kind: endpoint ('' must be given), model ('' must be given), the variable that holds the key ('' needs none). */
const kinds: Readonly<Record<Kind, { readonly endpoint: string; readonly model: string; readonly key: string }>> = {
  demo: { endpoint: '', model: 'demo-script-1', key: '' },
  nvidia: { endpoint: 'https://integrate.api.nvidia.com/v1', model: 'nvidia/nemotron-3-super-120b-a12b', key: 'NVIDIA_API_KEY' },
  nim: { endpoint: 'http://127.0.0.1:8000/v1', model: '', key: '' },
  vllm: { endpoint: 'http://127.0.0.1:8000/v1', model: '', key: '' },
  ollama: { endpoint: 'http://127.0.0.1:11434/v1', model: '', key: '' },
  openai: { endpoint: 'https://api.openai.com/v1', model: '', key: 'OPENAI_API_KEY' },
  anthropic: { endpoint: 'https://api.anthropic.com/v1', model: '', key: 'ANTHROPIC_API_KEY' },
  compatible: { endpoint: '', model: '', key: '' },
};

/** `local` only where the address itself says that data stays on this machine; a name could resolve to anything. */
export function locationOf(endpoint: string): 'local' | 'cloud' {
  const host = new URL(endpoint).hostname.replace(/^\[|\]$/g, '');
  if (host === 'localhost' || host === '::1') return 'local';
  return isIP(host) === 4 && host.startsWith('127.') ? 'local' : 'cloud';
}

/**
 * The providers of a new sandbox, the default first. `demoEndpoint`: base URL of the scripted model, '' where none runs.
 * Throws NEMO_E_PROVIDER, and NEMO_E_DEMO_ANSWERS where scripted approvals would meet a real model.
 */
export function chooseProviders(bundle: PolicyBundle, wanted: CreateSandbox['provider'], demoEndpoint: string): ProviderRecord[] {
  const chosen = wanted ? [fromRequest(wanted)] : fromBlueprint(bundle);
  const providers = chosen.map((provider): ProviderRecord => {
    if (provider.kind !== 'demo') return provider;
    if (demoEndpoint === '') throw new NemoError('NEMO_E_PROVIDER', { what: 'The demo model does not run on this host.' });
    // The scripted model is ours and at one place: nothing else may answer under its name.
    return { ...provider, endpoint: demoEndpoint, location: 'local' };
  });
  if (bundle.blueprint.demo.approvedRequests.length > 0 && providers.some((provider) => provider.kind !== 'demo')) {
    throw new NemoError('NEMO_E_DEMO_ANSWERS', { what: 'The blueprint answers approvals by itself, which is only for the scripted demo.', why: 'A real model could be made to ask exactly what is approved beforehand.' });
  }
  return providers;
}

/** The host's own key goes only to the address it is for: somebody who names another endpoint gives their own, or none. */
function fromRequest(wanted: NonNullable<CreateSandbox['provider']>): ProviderRecord {
  const defaults = kinds[wanted.kind];
  if (wanted.kind === 'demo') {
    if (wanted.endpoint !== undefined) throw new NemoError('NEMO_E_PROVIDER', { what: 'The demo model has no other endpoint.', fix: 'Leave the endpoint out, or choose the provider compatible.' });
    return { name: 'demo', kind: 'demo', model: defaults.model, endpoint: '', location: 'local' };
  }
  const endpoint = (wanted.endpoint ?? defaults.endpoint).replace(/\/+$/, '');
  const model = wanted.model ?? defaults.model;
  if (endpoint === '' || model === '') throw new NemoError('NEMO_E_PROVIDER', { what: `The provider ${wanted.kind} needs ${endpoint === '' ? 'an endpoint' : 'a model'}.` });
  if (!/^https?:$/.test(new URL(endpoint).protocol)) throw new NemoError('NEMO_E_PROVIDER', { what: 'The endpoint is not an http or https address.' });
  return { name: wanted.kind, kind: wanted.kind, model, endpoint, location: locationOf(endpoint), ...(defaults.key === '' || endpoint !== defaults.endpoint ? {} : { apiKeyEnv: defaults.key }) };
}

function fromBlueprint(bundle: PolicyBundle): ProviderRecord[] {
  const inference = bundle.inference;
  if (!inference) throw new NemoError('NEMO_E_PROVIDER', { what: 'The blueprint names no model provider.', fix: 'Choose one with --provider.' });
  const ordered = [...inference.providers].sort((a, b) => Number(b.name === inference.default) - Number(a.name === inference.default));
  return ordered.map(({ name, kind, model, endpoint, location, apiKeyEnv }) => {
    const key = apiKeyEnv ?? kinds[kind].key;
    return { name, kind, model, endpoint: endpoint.replace(/\/+$/, ''), location, ...(key === '' ? {} : { apiKeyEnv: key }) };
  });
}

/** What the worker that owns the sandbox needs; the only place where a key meets a provider. */
export function providerPlans(providers: readonly ProviderRecord[], keyOf: (provider: ProviderRecord) => string | undefined): ProviderPlan[] {
  return providers.map((provider) => {
    const apiKey = keyOf(provider) ?? '';
    if (apiKey === '' && provider.apiKeyEnv !== undefined) {
      throw new NemoError('NEMO_E_PROVIDER', { what: `There is no key for the provider ${provider.name}.`, fix: `Give it at onboard, or set ${provider.apiKeyEnv} in secrets.json of the gateway.` });
    }
    return { name: provider.name, kind: provider.kind, dialect: 'openai-chat', baseUrl: provider.endpoint, apiKey, model: provider.model, location: provider.location };
  });
}

/** True where only the scripted model ever answers. */
export function onlyDemo(providers: readonly ProviderRecord[]): boolean {
  return providers.every((provider) => provider.kind === 'demo');
}

export function providerView(provider: ProviderRecord): ProviderView {
  const { name, kind, model, endpoint, location } = provider;
  return { name, kind, model, endpoint, location, note: kind === 'demo' ? 'scripted model, not an AI' : '' };
}
