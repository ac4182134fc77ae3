// A server and its client on loopback, then on a socket with a name.
import { once } from 'node:events';
import { createServer, request } from 'node:http';

async function talk(where) {
  const server = createServer((req, res) => res.end(`answer to ${req.method}`));
  server.listen(where);
  await once(server, 'listening');
  const to = typeof where === 'string' ? { socketPath: where } : { host: '127.0.0.1', port: server.address().port };
  const [answer] = await once(request({ ...to, method: 'PUT' }).end(), 'response');
  let text = '';
  for await (const part of answer) text += part;
  server.close();
  return text;
}
for (const where of [{ host: '127.0.0.1', port: 0 }, `${process.cwd()}/named.sock`]) {
  console.log(typeof where === 'string' ? 'socket' : 'tcp', await talk(where).catch((error) => error.code));
}
process.exit();
