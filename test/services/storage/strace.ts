/** A call as strace tells it: in the order in which they end, with the place at which each began. */
export interface Call {
  name: string;
  /** Text between the brackets. */
  args: string;
  result: number;
  /** How many calls had ended when it began. */
  began: number;
}

const LINE = /^(\d+) +(.*)$/;
const RESUMED = /^<\.\.\. (\w+) resumed>(.*)$/;
const WHOLE = /^(\w+)\((.*)\) += (-?\d+|\?)/;

/** Calls of `strace -f -xx`, those that threads interleaved put together again. */
export function readTrace(text: string): Call[] {
  const calls: Call[] = [];
  const begun = new Map<string, { head: string; began: number }>();
  for (const line of text.split('\n')) {
    const [, thread = '', rest = ''] = LINE.exec(line) ?? [];
    if (rest.endsWith(' <unfinished ...>')) {
      begun.set(thread, { head: rest.slice(0, -' <unfinished ...>'.length), began: calls.length });
      continue;
    }
    const resumed = RESUMED.exec(rest);
    const before = resumed === null ? undefined : begun.get(thread);
    const whole = WHOLE.exec(resumed === null ? rest : `${before?.head ?? ''}${resumed[2] ?? ''}`);
    if (whole === null) continue;
    const [, name = '', args = '', result] = whole;
    calls.push({ name, args, result: Number(result), began: before?.began ?? calls.length });
  }
  return calls;
}

/** The strings of a call, as the bytes that `-xx` shows. */
export function stringsOf({ args }: Call): Buffer[] {
  return [...args.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)].map(([, hex = '']) =>
    Buffer.from(hex.replaceAll('\\x', ''), 'hex'),
  );
}

/** The numbers of a call that stand by themselves. */
export function numbersOf({ args }: Call): number[] {
  return args
    .split(', ')
    .map((part) => Number(part))
    .filter((value) => Number.isInteger(value));
}
