/** pi extension: the company's business tools and the model endpoint, both reached only through the sandbox's network. */

interface ToolResult {
  content: { type: 'text'; text: string }[];
  details: Record<string, unknown>;
  isError?: boolean;
}
interface Pi {
  registerTool(tool: {
    name: string;
    label: string;
    description: string;
    parameters: unknown;
    execute(id: string, params: Record<string, unknown>, signal?: AbortSignal): Promise<ToolResult>;
  }): void;
  registerProvider(name: string, provider: unknown): void;
}

const text = (description: string): unknown => ({ type: 'string', description });
const object = (properties: Record<string, unknown>): unknown => ({ type: 'object', properties, required: Object.keys(properties), additionalProperties: false });
const host = (service: string): string => `https://${service}.acme.example:8931`;

/** Tools post their arguments as they are, so that a tool call and the request that carries it out are recognisably the same. */
async function call(method: string, url: string, params: Record<string, unknown> | undefined, signal?: AbortSignal): Promise<ToolResult> {
  const response = await fetch(url, {
    method,
    ...(params ? { body: JSON.stringify(params), headers: { 'content-type': 'application/json' } } : {}),
    ...(signal ? { signal } : {}),
  });
  const body = await response.text();
  return { content: [{ type: 'text', text: `HTTP ${response.status}\n${body}` }], details: { status: response.status }, ...(response.ok ? {} : { isError: true }) };
}

export default function businessTools(pi: Pi): void {
  pi.registerProvider('nemoclaw', {
    baseUrl: 'http://inference.local/v1',
    apiKey: 'NEMOCLAW_API_KEY',
    api: 'openai-completions',
    models: [{ id: 'default', name: 'Model behind the Privacy Router', reasoning: false, input: ['text'], contextWindow: 128000, maxTokens: 4096, cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 } }],
  });
  const tool = (name: string, description: string, properties: Record<string, unknown>, run: (p: Record<string, unknown>, signal?: AbortSignal) => Promise<ToolResult>): void => {
    pi.registerTool({ name, label: name, description, parameters: object(properties), execute: (_id, params, signal) => run(params, signal) });
  };
  tool('ticket_list', 'List tickets by status', { status: text('open or resolved') }, (p, s) => call('GET', `${host('tickets')}/tickets?status=${encodeURIComponent(String(p['status']))}`, undefined, s));
  tool('crm_read', 'Read a customer record', { customerId: text('customer id') }, (p, s) => call('GET', `${host('crm')}/customers/${encodeURIComponent(String(p['customerId']))}`, undefined, s));
  tool('ticket_resolve', 'Resolve a ticket with a note', { ticketId: text('ticket id'), note: text('note') }, (p, s) => call('POST', `${host('tickets')}/tickets/${encodeURIComponent(String(p['ticketId']))}/resolve`, p, s));
  tool('email_send', 'Send an e-mail', { to: text('recipient'), subject: text('subject'), body: text('body') }, (p, s) => call('POST', `${host('mail')}/v1/send`, p, s));
  tool('billing_refund', 'Refund a customer', { customerId: text('customer id'), amountUsd: { type: 'number', description: 'amount in USD' } }, (p, s) => call('POST', `${host('billing')}/v1/refunds`, p, s));
}
