import { printable } from '../core/printable.js';

/** Ways to set text off; none of them carries meaning that the words do not. */
export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow';

const CODES: Readonly<Record<Style, readonly [number, number]>> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
};

/** Sets text off, or leaves it as it is. */
export type Paint = (style: Style, text: string) => string;

/** Where a command writes. */
export interface Terminal {
  /** Facts: standard output, with a line end. */
  say(text: string): void;
  /** Everything else: standard error, with a line end. */
  tell(text: string): void;
  /** Writes over the last line of standard error; only where that is a terminal. */
  progress(text: string): void;
  /** Colours of standard output: off for pipes, NO_COLOR and TERM=dumb. */
  readonly paint: Paint;
  /** Colours of standard error. */
  readonly paintError: Paint;
  /** True when standard output is a terminal. */
  readonly interactive: boolean;
  /** Bytes that somebody else wrote: as they are into pipes and files, escaped on a terminal. */
  pass(to: 'stdout' | 'stderr', bytes: Uint8Array): void;
  /** Text as it is on standard output, control sequences and all. */
  draw(text: string): void;
  /** Size of the terminal, never less than 1; the usual 80 by 24 where nobody tells. */
  size(): { columns: number; rows: number };
}

/** Size of a terminal that does not tell it. */
const USUAL_SIZE = { columns: 80, rows: 24 } as const;

/** Makes the terminal of a process. @see https://no-color.org */
export function createTerminal(
  { stdout, stderr }: { stdout: NodeJS.WriteStream; stderr: NodeJS.WriteStream },
  env: NodeJS.ProcessEnv,
): Terminal {
  const plain = (env.NO_COLOR ?? '') !== '' || env.TERM === 'dumb';
  let shown = false;
  const clear = (): void => {
    if (shown) stderr.write('\r\u001b[K');
    shown = false;
  };
  return {
    say(text) {
      clear();
      stdout.write(`${text}\n`);
    },
    tell(text) {
      clear();
      stderr.write(`${text}\n`);
    },
    progress(text) {
      if (!stderr.isTTY) return;
      clear();
      if (text === '') return;
      stderr.write(text);
      shown = true;
    },
    paint: createPaint(stdout.isTTY && !plain),
    paintError: createPaint(stderr.isTTY && !plain),
    interactive: stdout.isTTY === true,
    pass(to, bytes) {
      clear();
      const stream = to === 'stdout' ? stdout : stderr;
      stream.write(stream.isTTY ? printableLines(bytes) : bytes);
    },
    draw: (text) => void stdout.write(text),
    size: () => ({
      columns: stdout.columns > 0 ? stdout.columns : USUAL_SIZE.columns,
      rows: stdout.rows > 0 ? stdout.rows : USUAL_SIZE.rows,
    }),
  };
}

/** Text of any author for a terminal: its lines, and nothing that moves the cursor. */
export function printableLines(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes).split(/\r?\n/).map(printable).join('\n');
}

function createPaint(coloured: boolean): Paint {
  return (style, text) => {
    const [on, off] = CODES[style];
    return coloured ? `\u001b[${on}m${text}\u001b[${off}m` : text;
  };
}
