/** A signal that aborts when its parent does, or when the time is up. */
export interface Deadline {
  readonly signal: AbortSignal;
  /** Lets go of parent and timer; the signal stays as it is. */
  clear(): void;
}

/**
 * Makes a signal with a deadline. Unlike `AbortSignal.any` it leaves nothing behind on a parent that lives for long, and
 * unlike `AbortSignal.timeout` no timer.
 */
export function createDeadline(parent: AbortSignal, ms: number): Deadline {
  const controller = new AbortController();
  const onAbort = (): void => {
    clear();
    controller.abort(parent.reason);
  };
  const timer = setTimeout(() => {
    clear();
    controller.abort(Object.assign(new Error('the time is up'), { code: 'ETIMEDOUT' }));
  }, ms);
  const clear = (): void => {
    clearTimeout(timer);
    parent.removeEventListener('abort', onAbort);
  };
  if (parent.aborted) onAbort();
  else parent.addEventListener('abort', onAbort, { once: true });
  return { signal: controller.signal, clear };
}

/** What the work answers before the deadline, else undefined: work that cannot be called off goes on unheard. */
export async function beforeDeadline<T>(work: Promise<T>, parent: AbortSignal, ms: number): Promise<T | undefined> {
  const deadline = createDeadline(parent, ms);
  try {
    return await new Promise<T | undefined>((resolve, reject) => {
      if (deadline.signal.aborted) resolve(undefined);
      else deadline.signal.addEventListener('abort', () => resolve(undefined), { once: true });
      work.then(resolve, reject);
    });
  } finally {
    deadline.clear();
  }
}
