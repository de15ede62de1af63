import { type Mount, parseMountinfo } from '../sandbox/mountinfo.js';

/**
 * The file system that a path lies on.
 *
 * @param mountinfo content of /proc/self/mountinfo
 * @param path      absolute and without links
 */
export function mountOf(mountinfo: string, path: string): Pick<Mount, 'point' | 'options'> | undefined {
  let best: Pick<Mount, 'point' | 'options'> | undefined;
  for (const { point, options } of parseMountinfo(mountinfo)) {
    const holds = path === point || path.startsWith(point === '/' ? '/' : `${point}/`);
    // of two mounts at one place the later one is seen
    if (holds && point.length >= (best?.point.length ?? 0)) best = { point, options };
  }
  return best;
}
