/** Landlock's file rights (include/uapi/linux/landlock.h, ABI 5 and later) and the sets that sandboxes use. */

const bit = {
  execute: 1 << 0, writeFile: 1 << 1, readFile: 1 << 2, readDir: 1 << 3, removeDir: 1 << 4, removeFile: 1 << 5, makeChar: 1 << 6, makeDir: 1 << 7,
  makeReg: 1 << 8, makeSock: 1 << 9, makeFifo: 1 << 10, makeBlock: 1 << 11, makeSym: 1 << 12, refer: 1 << 13, truncate: 1 << 14, ioctlDev: 1 << 15,
} as const;

const look = bit.readFile | bit.readDir;
const change = bit.writeFile | bit.truncate | bit.makeDir | bit.makeReg | bit.makeSock | bit.makeFifo | bit.makeSym;
const remove = bit.removeDir | bit.removeFile | bit.refer;

export const rights = {
  list: bit.readDir,
  readFile: bit.readFile,
  read: look,
  execute: bit.execute,
  /** Everything but devices and programs. Where deletion is asked of a person, the kernel grants none: the shim performs it. */
  write: (removalsAsked: boolean): number => look | change | (removalsAsked ? 0 : remove),
  device: bit.readFile | bit.writeFile | bit.ioctlDev,
  terminals: look | bit.writeFile | bit.ioctlDev,
} as const;
