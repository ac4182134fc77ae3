/** Writes the "newc" archive that the kernel unpacks as its first root (Documentation/driver-api/early-userspace/buffer-format.rst). */

export interface ArchiveEntry {
  /** Relative, without a leading slash. */
  readonly name: string;
  /** Type and permissions as in `st_mode`: 0o040755 a folder, 0o100755 a program. */
  readonly mode: number;
  readonly data?: Buffer;
}

const padding = (length: number): Buffer => Buffer.alloc((4 - (length % 4)) % 4);

function record(entry: ArchiveEntry, inode: number): Buffer {
  const data = entry.data ?? Buffer.alloc(0);
  const name = Buffer.from(`${entry.name}\0`);
  const fields = [inode, entry.mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length, 0];
  const head = Buffer.concat([Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`), name]);
  return Buffer.concat([head, padding(head.length), data, padding(data.length)]);
}

/** The whole archive; folders must come before what is in them. */
export function archive(entries: readonly ArchiveEntry[]): Buffer {
  return Buffer.concat([...entries, { name: 'TRAILER!!!', mode: 0 }].map((entry, index) => record(entry, index + 1)));
}
