import type { AskFlags } from '../context.js';
import { wholeNumber, withAskOptions, withNodeOptions } from '../options.js';
import { type Branch, GROUP } from './branch.js';

/** What finds a node, and what moves the embedded one. */
export const addNode: Branch = (program, context, done) => {
  program.commandsGroup(GROUP.node);
  withNodeOptions(
    program
      .command('connect')
      .description('find a node, and print the configuration lines that are missing; changes nothing')
      .argument('[kind]', 'bitcoind or btcd', 'bitcoind'),
  )
    .option('--node-dir <dir>', "the node's own directory")
    .option('--node-tls-ca <file>', 'certificate of btcd')
    .option('--json', 'print facts as JSON')
    .action(async (kind: string, flags: object) =>
      done((await import('../commands/connect.js')).connect(context, kind, flags)),
    );
  const devchain = program.command('devchain').description('move the embedded chain of a host that runs on it');
  const count = wholeNumber(1);
  withAskOptions(devchain.command('mine').description('mine blocks at once').argument('[count]', 'blocks', count, 1))
    .option('--script <hex>', 'script that the coinbases pay to (default: a key of the chain)')
    .action(async (number: number, flags: AskFlags) =>
      done((await import('../commands/devchain.js')).mine(context, number, flags)),
    );
  withAskOptions(
    devchain
      .command('reorg')
      .description('replace the last blocks by a longer branch')
      .argument('[depth]', 'blocks', count, 1),
  ).action(async (depth: number, flags: AskFlags) =>
    done((await import('../commands/devchain.js')).reorg(context, depth, flags)),
  );
  withAskOptions(
    devchain
      .command('spend')
      .description('signed transactions into the mempool')
      .argument('[count]', 'transactions', count, 1),
  ).action(async (number: number, flags: AskFlags) =>
    done((await import('../commands/devchain.js')).spend(context, number, flags)),
  );
};
