/** One mounted file system, as /proc/self/mountinfo tells it. */
export interface Mount {
  /** What of the file system appears at the mount point: `/`, or a directory in it. */
  readonly root: string;
  readonly point: string;
  readonly options: readonly string[];
  readonly type: string;
  /** Options of the file system itself. */
  readonly superOptions: readonly string[];
}

/**
 * Reads the mounts of a process, in the order in which they were made.
 *
 * @see proc_pid_mountinfo(5)
 */
export function parseMountinfo(text: string): Mount[] {
  return text.split('\n').flatMap((line): Mount[] => {
    const [left = '', right = ''] = line.split(' - ');
    const [, , , root = '', point, options] = left.split(' ').map(unescapeOctal);
    const [type = '', , superOptions = ''] = right.split(' ');
    if (point === undefined || options === undefined) return [];
    return [{ root, point, options: options.split(','), type, superOptions: superOptions.split(',') }];
  });
}

/** Spaces and the like stand as `\040`. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
