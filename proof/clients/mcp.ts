/** The client of the Model Context Protocol's own TypeScript SDK (MIT), which runs on the machine's Node. */
import { cpSync, existsSync } from 'node:fs';
import { fetchPackage } from './npm-package.ts';

const sdk = { name: '@modelcontextprotocol/sdk', version: '1.32.2', integrity: 'sha512-SWsVtH/0vULSQStoZ6xxH2K09Li8fXYTMC64ZeogCdpZ3XSi1eCPOByV1OpuJxuI3OcmHhosDWYyii07tpPsLw==' };

/** Puts the packages at `to`. False where they cannot be had, which is said. */
export function fetchMcp(folder: string, to: string): boolean {
  if (!existsSync('/usr/bin/node')) {
    console.log('CLIENT NOT TESTED: mcp (there is no Node of the machine)');
    return false;
  }
  const modules = fetchPackage(folder, 'mcp', sdk);
  if (modules === undefined) return false;
  cpSync(modules, to, { recursive: true });
  return true;
}
