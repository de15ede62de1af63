/** Runs one task at a time, in the order asked; a task that fails does not stop those behind it. */
export type Serial = <T>(task: () => Promise<T>) => Promise<T>;

/** Makes an idle queue. */
export function createSerial(): Serial {
  let last: Promise<unknown> = Promise.resolve();
  return (task) => {
    const run = last.then(task);
    last = run.catch(() => undefined);
    return run;
  };
}
