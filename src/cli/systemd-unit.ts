import { HostError } from '../contract/error.js';

/** What a unit is made for. */
export interface UnitChoice {
  /** Absolute path of Node. */
  readonly node: string;
  /** Absolute path of the program's main file. */
  readonly main: string;
  /** Absolute path of the operator's file. */
  readonly config: string;
  /** `root`: each module gets a user of its own. A name: one user for host and modules. `session`: a unit of `systemctl --user`. */
  readonly runAs:
    | { readonly kind: 'root' }
    | { readonly kind: 'user'; readonly name: string }
    | { readonly kind: 'session' };
  /** More directories in which the host writes, absolute: data and sockets that do not lie in the default places. */
  readonly writable: readonly string[];
}

/** Seconds of silence after which systemd takes the host for stuck. Its loop is measured in milliseconds; a Pi under swap is not. */
const WATCHDOG_SECONDS = 60;
/** Longer than the longest orderly stop (15 s), shorter than systemd's default. */
const STOP_SECONDS = 30;

/**
 * What a host that is root needs, and why: users of modules (SETUID, SETGID, CHOWN, DAC_OVERRIDE, FOWNER), their namespaces
 * and staged mounts (SYS_ADMIN, NET_ADMIN), bounding sets and limits (SETPCAP, SYS_RESOURCE), ending and measuring processes
 * of other users (KILL, SYS_PTRACE), and SETFCAP, without which the kernel maps no root into a user namespace
 * (user_namespaces(7)).
 */
const ROOT_CAPABILITIES = [
  ...['CAP_SETUID', 'CAP_SETGID', 'CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_FOWNER', 'CAP_SYS_ADMIN', 'CAP_NET_ADMIN'],
  ...['CAP_SETPCAP', 'CAP_SYS_RESOURCE', 'CAP_KILL', 'CAP_SYS_PTRACE', 'CAP_NET_BIND_SERVICE', 'CAP_SETFCAP'],
];

/**
 * The text of a unit for the host. Restrictions are as tight as bubblewrap and V8 bear; what is missing on purpose stands
 * in the unit with its reason.
 *
 * @throws HostError BAD_CONFIG when a path cannot stand in a unit
 * @see systemd.service(5), systemd.exec(5), systemd.resource-control(5)
 */
export function systemdUnit(choice: UnitChoice): string {
  const { runAs } = choice;
  const system = runAs.kind !== 'session';
  const words = [choice.node, choice.main, 'run', '--config', choice.config].map(unitWord).join(' ');
  const section = (name: string, lines: readonly (string | readonly string[])[]): string =>
    `[${name}]\n${lines.flat().join('\n')}\n`;
  return [
    section('Unit', [
      'Description=modhost: sandboxed modules beside a Bitcoin node',
      'Documentation=man:systemd.service(5)',
      ...(system ? ['After=network-online.target bitcoind.service btcd.service', 'Wants=network-online.target'] : []),
      'StartLimitIntervalSec=300',
      'StartLimitBurst=5',
    ]),
    section('Service', [
      'Type=notify',
      '# The host speaks through systemd-notify, a child of its own.',
      'NotifyAccess=all',
      `ExecStart=${words}`,
      'Restart=on-failure',
      'RestartSec=2',
      `WatchdogSec=${WATCHDOG_SECONDS}`,
      '# Not SIGABRT: a core of the host would hold configuration secrets.',
      'WatchdogSignal=SIGKILL',
      'TimeoutStartSec=120',
      `TimeoutStopSec=${STOP_SECONDS}`,
      '# The host stops its modules in their order; what is left after that is killed.',
      'KillMode=mixed',
      '# The host makes a control group for each module in its own.',
      'Delegate=yes',
      '# A module that runs out of its memory is the host’s affair and no reason to stop the host.',
      'OOMPolicy=continue',
      ...(runAs.kind === 'user' ? [`User=${unitWord(runAs.name)}`, `Group=${unitWord(runAs.name)}`] : []),
      ...(system
        ? [
            ...['RuntimeDirectory=modhost', 'RuntimeDirectoryMode=0711', 'StateDirectory=modhost'],
            ...['StateDirectoryMode=0711', 'ConfigurationDirectory=modhost'],
          ]
        : []),
      'UMask=0077',
      'LimitCORE=0',
      'LimitNOFILE=65536',
      '',
      'NoNewPrivileges=yes',
      ...(system
        ? [
            'ProtectSystem=strict',
            ...choice.writable.map((path) => `ReadWritePaths=${unitWord(path)}`),
            '# Modules, or Node itself, may lie in somebody’s home.',
            'ProtectHome=read-only',
            'PrivateTmp=yes',
            'ProtectClock=yes',
          ]
        : []),
      ...(runAs.kind === 'root' ? [`CapabilityBoundingSet=${ROOT_CAPABILITIES.join(' ')}`] : []),
      ...(runAs.kind === 'user' ? ['CapabilityBoundingSet='] : []),
      'LockPersonality=yes',
      'RestrictRealtime=yes',
      'RestrictSUIDSGID=yes',
      'RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK',
      'SystemCallArchitectures=native',
      '',
      '# Left out on purpose:',
      '# MemoryDenyWriteExecute   V8 compiles to memory that it then executes.',
      '# RestrictNamespaces       the sandbox is made of namespaces.',
      '# ProtectKernelTunables, ProtectKernelLogs, ProtectProc, ProcSubset',
      '#                          they cover parts of /proc, and then the kernel refuses a sandbox a /proc of its own.',
      '# ProtectHostname          it forbids sethostname(2), which the sandbox calls in its own namespace.',
      '# ProtectControlGroups     the host writes the control groups of its modules.',
      '# PrivateUsers             it would take away the users of modules, and nested user namespaces with them.',
    ]),
    section('Install', [`WantedBy=${system ? 'multi-user.target' : 'default.target'}`]),
  ].join('\n');
}

/**
 * One word of a unit's line: `%` doubled, since systemd expands it, and quoted where it has to be.
 *
 * @see systemd.syntax(7), "Quoting"; systemd.unit(5), "Specifiers"
 */
function unitWord(word: string): string {
  if (/[\0\r\n]/.test(word)) {
    throw new HostError('BAD_CONFIG', `${JSON.stringify(word)} holds a line end and cannot stand in a unit`);
  }
  const escaped = word.replaceAll('%', '%%').replaceAll('$', '$$$$');
  return /^[\w@%+=:,./$-]+$/.test(escaped) ? escaped : `"${escaped.replace(/["\\]/g, '\\$&')}"`;
}
