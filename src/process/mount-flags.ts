/** One mounted file system, as /proc/self/mountinfo tells it. */
export interface MountEntry {
  readonly point: string;
  readonly options: readonly string[];
}

/**
 * The file system that a path lies on.
 *
 * @param mountinfo content of /proc/self/mountinfo
 * @param path      absolute and without links
 * @see             proc_pid_mountinfo(5)
 */
export function mountOf(mountinfo: string, path: string): MountEntry | undefined {
  let best: MountEntry | undefined;
  for (const line of mountinfo.split('\n')) {
    const [, , , , escaped, options] = line.split(' ');
    if (escaped === undefined || options === undefined) continue;
    const point = escaped.replace(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    const holds = path === point || path.startsWith(point === '/' ? '/' : `${point}/`);
    // of two mounts at one place the later one is seen
    if (holds && point.length >= (best?.point.length ?? 0)) best = { point, options: options.split(',') };
  }
  return best;
}
