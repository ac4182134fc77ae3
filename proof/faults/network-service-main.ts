/** The other side of the network faults in a process of its own: says its port, and ends with its standard input. */
import { NetworkService } from './network-service.ts';

const service = new NetworkService();
process.stdout.write(String(await service.listen()));
process.stdin.on('end', () => process.exit(0)).resume();
