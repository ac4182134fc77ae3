/** Program run as the person whose folder is registered; prints openshelld's answer. */
import { register } from './workspace.ts';

const [socketPath, path] = process.argv.slice(2);
if (!socketPath || !path) throw new Error('usage: register-main.ts SOCKET FOLDER');
process.stdout.write(`${JSON.stringify(await register(socketPath, path))}\n`);
