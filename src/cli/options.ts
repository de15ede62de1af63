import { type Command, InvalidArgumentError, Option } from 'commander';
import { parseSandboxMinimumText, type SandboxMinimum } from '../contract/guarantee.js';
import { LOG_LEVELS, NODE_KINDS } from '../manifest/operator.js';
import { NETWORK_DIRS } from './places.js';

/** Lines of the past that `logs` and `audit` begin with. */
const DEFAULT_LINES = 50;

/** A whole number from `min`; what is not one is a usage error. */
export function wholeNumber(min: number): (word: string) => number {
  return (word) => {
    const value = Number(word);
    if (!/^[0-9]{1,9}$/.test(word) || value < min)
      throw new InvalidArgumentError(`A whole number from ${min} is wanted.`);
    return value;
  };
}

/** A number in decimal digits from `min` to `max`; what is not one is a usage error. */
export function decimalNumber(min: number, max: number): (word: string) => number {
  return (word) => {
    const value = Number(word);
    if (!/^[0-9]{1,9}(?:\.[0-9]{1,9})?$/.test(word) || value < min || value > max)
      throw new InvalidArgumentError(`A number from ${min} to ${max} is wanted.`);
    return value;
  };
}

const UNITS_MS = { s: 1_000, m: 60_000, h: 3_600_000 } as const;

/** A duration like `90s`, `10m` or `2h`, milliseconds. */
export function duration(word: string): number {
  const match = /^([1-9][0-9]{0,5})([smh])$/.exec(word);
  const unit = match?.[2] as keyof typeof UNITS_MS | undefined;
  if (unit === undefined) throw new InvalidArgumentError('A duration like 90s, 10m or 2h is wanted.');
  return Number(match?.[1]) * UNITS_MS[unit];
}

/** Collects an option that may be given several times. */
export function collect(word: string, earlier: string[]): string[] {
  return [...earlier, word];
}

/** Names the operator's file. */
export const configOption = () =>
  new Option('-c, --config <file>', "the operator's file; by default that of the system or user").env('MODHOST_CONFIG');
const socketDirOption = () => new Option('--socket-dir <dir>', 'directory of the sockets').env('MODHOST_SOCKET_DIR');

/** Names the directory of the modules. */
export const modulesDirOption = () =>
  new Option('--modules-dir <dir>', 'each directory below with a module.toml is a module').env('MODHOST_MODULES_DIR');
const dataDirOption = () =>
  new Option('--data-dir <dir>', 'data of host and modules; one directory per network is made below').env(
    'MODHOST_DATA_DIR',
  );

/** The least containment, for `run` and for those who ask what a run would find. */
const sandboxMinimumOption = () =>
  new Option(
    '--sandbox-minimum <what>',
    'least containment of modules: full, confined, limited, none, or guarantees with commas (default: confined)',
  )
    .argParser((word): SandboxMinimum => {
      const minimum = parseSandboxMinimumText(word);
      if (typeof minimum === 'object' && 'refused' in minimum) throw new InvalidArgumentError(`It ${minimum.refused}.`);
      return minimum;
    })
    .env('MODHOST_SANDBOX_MINIMUM');

/** Options of every command that asks a running host. */
export function withAskOptions(command: Command): Command {
  return command
    .addOption(configOption())
    .addOption(socketDirOption())
    .addOption(
      new Option('--network <name>', 'which host, where several run').choices(NETWORK_DIRS).env('MODHOST_NETWORK'),
    )
    .option('--timeout <seconds>', 'longest wait for an answer; 0 = as long as it takes', wholeNumber(0))
    .option('--json', 'print facts as JSON');
}

/** Options of the command that tells what a run would find: those that decide it. */
export function withDoctorOptions(command: Command): Command {
  return withAskOptions(command)
    .addOption(modulesDirOption())
    .addOption(dataDirOption())
    .addOption(sandboxMinimumOption());
}

/** Options of commands that show the past and may follow. */
export function withFollowOptions(command: Command): Command {
  return withAskOptions(command)
    .option('-f, --follow', 'go on with what comes')
    .option('-n, --lines <count>', 'how many of the past', wholeNumber(0), DEFAULT_LINES);
}

/** Options that name a node. */
export function withNodeOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--network <name>', 'network that the node must be on (default: main)')
        .choices(NETWORK_DIRS.filter((name) => name !== 'devchain'))
        .env('MODHOST_NETWORK'),
    )
    .addOption(new Option('--node-url <url>', "address of the node's RPC").env('MODHOST_NODE_URL'))
    .addOption(
      new Option('--node-user <name>', 'RPC user; its password comes in MODHOST_NODE_PASSWORD').env(
        'MODHOST_NODE_USER',
      ),
    )
    .addOption(new Option('--node-cookie-file <file>', 'cookie of bitcoind').env('MODHOST_NODE_COOKIE_FILE'));
}

/** Options of `modhost run`. */
export function withRunOptions(command: Command): Command {
  return withNodeOptions(
    command
      .addOption(configOption())
      .addOption(
        new Option('--node <kind>', 'node to stand on (default: devchain)').choices(NODE_KINDS).env('MODHOST_NODE'),
      ),
  )
    .addOption(
      new Option('--block-interval <ms>', 'devchain: a block by the clock; 0 = on demand')
        .argParser(wholeNumber(0))
        .env('MODHOST_BLOCK_INTERVAL'),
    )
    .addOption(modulesDirOption())
    .addOption(dataDirOption())
    .addOption(socketDirOption())
    .option('--allow-unsigned <name>', 'let this module run although nobody vouches for it; repeatable', collect, [])
    .addOption(sandboxMinimumOption())
    .addOption(new Option('--log-level <level>', 'default: info').choices(LOG_LEVELS).env('MODHOST_LOG_LEVEL'))
    .addOption(
      new Option('--log-format <form>', 'default: pretty on a terminal, else json')
        .choices(['auto', 'json', 'pretty'])
        .env('MODHOST_LOG_FORMAT'),
    );
}
