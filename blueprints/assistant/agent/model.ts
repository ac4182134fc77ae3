/** pi extension: the model endpoint behind the Privacy Router; the key that the agent holds is only a placeholder. */

interface Pi {
  registerProvider(name: string, provider: unknown): void;
}

export default function model(pi: Pi): void {
  pi.registerProvider('nemoclaw', {
    baseUrl: 'http://inference.local/v1',
    apiKey: 'NEMOCLAW_API_KEY',
    api: 'openai-completions',
    models: [{ id: 'default', name: 'Model behind the Privacy Router', reasoning: false, input: ['text'], contextWindow: 128000, maxTokens: 8192, cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 } }],
  });
}
