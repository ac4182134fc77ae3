/** Door of the command line: `run` executes one command line. */
export { run } from './main.ts';
