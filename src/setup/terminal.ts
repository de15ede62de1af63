import { createInterface } from 'node:readline/promises';

/** Where setup speaks and, with a person at the keyboard, listens. */
export interface Terminal {
  /** Writes one line. */
  say(line: string): void;
  /** Asks for a yes; no without a person who could answer. */
  agree(question: string): Promise<boolean>;
}

/** The terminal of this process. */
export function createTerminal(input: NodeJS.ReadStream, output: NodeJS.WriteStream): Terminal {
  return {
    say(line) {
      output.write(`${line}\n`);
    },
    async agree(question) {
      if (!input.isTTY || !output.isTTY) return false;
      const dialogue = createInterface({ input, output });
      try {
        const answer = await dialogue.question(`${question} [y/N] `);
        return ['y', 'yes'].includes(answer.trim().toLowerCase());
      } catch {
        // The input ended or was interrupted: that is not a yes.
        return false;
      } finally {
        dialogue.close();
      }
    },
  };
}

/** Milliseconds as people read them: `0.4 s`, `12 s`. */
export function seconds(ms: number): string {
  return ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`;
}
