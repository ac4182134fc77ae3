/** What a policy says about a path, as the contract resolves it for every room. */
import { sandboxFiles } from '@nemoclaw/contract';

export const { fixedFolders, ownDevices, canonical, ruledPath, fileRules, privateFolders, specialPlaces, pinRoot, usualBindRoots, isShown } = sandboxFiles;
export type Access = sandboxFiles.Access;
export type Ruled = sandboxFiles.Ruled;
export type FileRules = sandboxFiles.FileRules;
export type SpecialPlace = sandboxFiles.SpecialPlace;
