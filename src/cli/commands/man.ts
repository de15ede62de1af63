import type { Command } from 'commander';
import type { CommandContext } from '../context.js';
import { EXIT } from '../exit.js';
import { manPage } from '../man-page.js';

/** `modhost man`: the manual page, as `man` reads it. */
export async function man({ terminal }: CommandContext, program: Command): Promise<number> {
  terminal.say(manPage(program).trimEnd());
  return EXIT.ok;
}
