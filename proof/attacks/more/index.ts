/** The larger table, whole. */
import type { Attempt } from './attempt.ts';
import { files } from './files.ts';
import { kernel } from './kernel.ts';
import { names } from './names.ts';
import { network } from './network.ts';
import { processes } from './processes.ts';
import { races } from './races.ts';
import { resources } from './resources.ts';

export const attempts: readonly Attempt[] = [...files, ...names, ...processes, ...kernel, ...network, ...resources, ...races];
