// The SDK's client over streamable HTTP: a session, the list of tools, a call that is allowed, one of a tool that is not, one whose arguments are not.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const client = new Client({ name: 'proof', version: '1' });
const transport = new StreamableHTTPClientTransport(new URL(process.argv[2]));
await client.connect(transport);
console.log(client.getServerVersion().name, transport.sessionId);
console.log((await client.listTools()).tools.length, 'tools');
for (const [name, query] of [['search', 'open tickets'], ['delete_all', 'open tickets'], ['search', 'secret plans']]) {
  try {
    const { isError, content } = await client.callTool({ name, arguments: { query } });
    console.log(name, query, isError === true ? 'refused' : 'answered', content[0].text);
  } catch (error) {
    console.log(name, query, 'threw', error.message);
  }
}
await client.close();
