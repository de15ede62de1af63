#!/usr/bin/env node
import { createContractRegistry } from '../contract/descriptors.js';
import { type ContractWords, createContractWords } from '../contract/plain.js';
import { EXIT } from './exit.js';
import { runProgram } from './program.js';
import { createTerminal } from './terminal.js';

// `modhost events | head` closes the pipe when it has enough: that is no failure
process.stdout.on('error', (error: NodeJS.ErrnoException) =>
  process.exit(error.code === 'EPIPE' ? EXIT.ok : EXIT.failed),
);

// and who closes standard error does not want to hear: the exit code still tells
process.stderr.on('error', () => {});

/** Reads the words on the first use: `--version` and usage errors have no need of them. */
function lazyWords(): () => ContractWords {
  let words: ContractWords | undefined;
  return () => {
    words ??= createContractWords(createContractRegistry());
    return words;
  };
}

const code = await runProgram(process.argv.slice(2), {
  terminal: createTerminal(process, process.env),
  env: process.env,
  words: lazyWords(),
  onSignal(signal, listener) {
    process.on(signal, listener);
    return () => process.off(signal, listener);
  },
  exitNow: (forced) => process.exit(forced),
});
process.stdout.write('', () => process.exit(code));
