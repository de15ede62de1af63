import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import type { Server } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FIRST_MODULE_UID } from '../../src/sandbox/identity.js';
import { createListeners } from './listeners.js';
import { createPlace, type Place, sandboxToolchain } from './spawn-module.js';

const { skip } = await sandboxToolchain();

/** What a curious module tries; prints one JSON object. It runs once inside and once, as its own control, outside. */
const CURIOUS = `
const fs = require('node:fs'), net = require('node:net'), os = require('node:os');
const [secret, port, hostPid, abstractName, mode] = process.argv.slice(2);
// The control shares the machine with people: it writes only where the test has made room.
const onlyInside = (act) => mode === 'inside' ? attempt(act) : 'not tried';
const attempt = (act) => { try { return String(act() ?? 'done'); } catch (error) { return error.code ?? error.message; } };
const connect = (options) => new Promise((resolve) => {
  const socket = net.connect(options, () => { socket.destroy(); resolve('connected'); });
  socket.on('error', (error) => resolve(error.code));
  socket.setTimeout(3000, () => resolve('timeout'));
});
(async () => {
  const data = process.env.MODHOST_DATA_DIR;
  console.log(JSON.stringify({
    secret: attempt(() => fs.readFileSync(secret, 'utf8')),
    dotdot: attempt(() => fs.readFileSync('../../../../../..' + secret, 'utf8')),
    link: attempt(() => fs.readFileSync(data + '/link', 'utf8')),
    rootOfInit: attempt(() => fs.readFileSync('/proc/' + hostPid + '/root' + secret, 'utf8')),
    tcp: await connect({ host: '127.0.0.1', port: Number(port) }),
    abstract: await connect({ path: '\\0' + abstractName }),
    socket: await connect({ path: process.env.MODHOST_SOCKET }),
    interfaces: attempt(() => Object.keys(os.networkInterfaces()).filter((name) => name !== 'lo').length),
    hostProcess: attempt(() => process.kill(Number(hostPid), 0)),
    hostMemory: onlyInside(() => fs.openSync('/proc/' + hostPid + '/mem', 'r+') && 'opened'),
    environment: Object.keys(process.env).sort(),
    ids: [process.getuid(), process.getgid(), process.getgroups()],
    writeData: attempt(() => fs.writeFileSync(data + '/written', 'x')),
    writeModule: attempt(() => fs.writeFileSync(__dirname + '/written', 'x')),
    writeSocketDir: attempt(() => fs.writeFileSync(require('node:path').dirname(process.env.MODHOST_SOCKET) + '/written', 'x')),
    writeUsr: onlyInside(() => fs.writeFileSync('/usr/written', 'x')),
    writeRoot: onlyInside(() => fs.writeFileSync('/written', 'x')),
    writeTmp: onlyInside(() => fs.writeFileSync('/tmp/written', 'x')),
    tmpBound: onlyInside(() => fs.writeFileSync('/tmp/big', Buffer.alloc(17 * 1024 * 1024))),
    root: fs.readdirSync('/'),
    etc: fs.readdirSync('/etc'),
    openFiles: (() => { const open = []; try { for (;;) open.push(fs.openSync('/dev/null')); } catch (error) { open.forEach((fd) => fs.closeSync(fd)); return error.code + ' below ' + (open.length < 257); } })(),
    cmdlines: fs.readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name)).map((pid) => attempt(() => fs.readFileSync('/proc/' + pid + '/cmdline', 'latin1'))).join(' ').slice(0, 2000),
  }));
})();
`;

describe.skipIf(skip)('a confined module, and the same program unconfined', () => {
  let inside: Place;
  let outside: Place;
  let tcp: Server;
  let abstract: Server;
  const { listen, close } = createListeners();
  const secretText = randomBytes(16).toString('hex');
  const abstractName = `modhost-test-${randomBytes(6).toString('hex')}`;
  let secretPath = '';

  const look = async (place: Place): Promise<Record<string, unknown>> => {
    const { port } = tcp.address() as { port: number };
    const answer = await place.run(CURIOUS, {
      command: [
        'node',
        join(place.engine.view(place.directories).code, 'main'),
        secretPath,
        String(port),
        String(process.pid),
        abstractName,
        place === inside ? 'inside' : 'outside',
      ],
    });
    expect(answer.stderr).toBe('');
    return JSON.parse(answer.stdout) as Record<string, unknown>;
  };

  beforeAll(async () => {
    inside = await createPlace();
    outside = await createPlace('unconfined');
    secretPath = join(inside.root, 'wallet.dat');
    await writeFile(secretPath, secretText, { mode: 0o444 });
    process.env.MODHOST_TEST_HOST_SECRET = secretText;
    tcp = await listen({ port: 0, host: '127.0.0.1' });
    abstract = await listen({ path: `\0${abstractName}` });
    for (const place of [inside, outside]) {
      const path = join(place.directories.socket, 'module.sock');
      await listen({ path });
      const { uid, gid } = await stat(place.directories.socket);
      await chown(path, uid, gid);
      await chmod(path, 0o600);
      await symlink(secretPath, join(place.directories.data, 'link'));
    }
  });
  afterAll(async () => {
    close();
    abstract?.close();
    await inside?.remove();
    await outside?.remove();
    delete process.env.MODHOST_TEST_HOST_SECRET;
  });

  test('C147 and basic confinement: every refusal inside, every success outside', async () => {
    const control = await look(outside);
    expect(control).toMatchObject({
      secret: secretText,
      dotdot: secretText,
      link: secretText,
      tcp: 'connected',
      abstract: 'connected',
      socket: 'connected',
      hostProcess: 'true',
      writeData: 'done',
      writeModule: 'done',
      writeSocketDir: 'done',
    });

    const seen = await look(inside);
    expect(seen).toMatchObject({
      secret: 'ENOENT',
      dotdot: 'ENOENT',
      link: 'ENOENT',
      rootOfInit: 'ENOENT',
      tcp: 'EAFNOSUPPORT',
      abstract: 'ECONNREFUSED',
      socket: 'connected',
      // A module without network cannot even ask for its devices: that takes a netlink socket.
      interfaces: 'ERR_SYSTEM_ERROR',
      hostProcess: 'ESRCH',
      hostMemory: 'ENOENT',
      writeData: 'done',
      writeModule: 'EROFS',
      writeSocketDir: 'EROFS',
      writeUsr: 'EROFS',
      writeRoot: 'EROFS',
      writeTmp: 'done',
      tmpBound: 'ENOSPC',
      openFiles: 'EMFILE below true',
      ids: [1000, 1000, [1000]],
    });
    expect(seen.environment).toEqual([
      'DATA_DIR',
      'MODHOST_DATA_DIR',
      'MODHOST_INSTANCE_ID',
      'MODHOST_MODULE_ID',
      'MODHOST_SOCKET',
      'MODHOST_TOKEN_FILE',
      'MODULE_ID',
      'MODULE_NAME',
      'PATH',
      'PWD',
      'SOCKET_PATH',
    ]);
    const root = (seen.root as string[]).filter((name) => !/^(?:bin|sbin|lib\w*|nix|opt)$/.test(name)).sort();
    expect(root).toEqual(['data', 'dev', 'etc', 'module', 'proc', 'run', 'tmp', 'usr']);
    expect(seen.etc).not.toContain('shadow');
    expect(seen.etc).not.toContain('hostname');
    // Neither the paths of the host nor its other programs are on any command line that the module can read.
    expect(seen.cmdlines).not.toContain(inside.root.concat('/code'));
  });

  test('a module has a user of its own exactly where the report says so', async () => {
    const state = inside.engine.containment().find(({ name }) => name === 'user');
    await inside.run('#!/bin/sh\n: > "$DATA_DIR/mine"; cat /proc/self/uid_map');
    const { uid } = await stat(join(inside.directories.data, 'mine'));
    expect(state?.state).toBe(inside.ownUsers ? 'enforced' : 'none');
    expect(uid).toBe(inside.ownUsers ? FIRST_MODULE_UID + 90_000 : process.getuid?.());
  });

  test('the report says what was tried, and does not claim what nobody enforces', () => {
    const report = new Map(inside.engine.containment().map((one) => [one.name, one]));
    for (const name of ['filesystem', 'network', 'processes', 'privileges', 'syscalls', 'open_files'] as const) {
      expect(report.get(name), name).toMatchObject({ state: 'enforced', verified: true });
    }
    expect(
      outside.engine
        .containment()
        .filter(({ state }) => state === 'enforced')
        .map(({ name }) => name),
    ).toEqual(['open_files']);
  });

  test('a setuid program gains nothing, and no further user namespace can be made', async () => {
    const { stdout } = await inside.run(
      '#!/bin/sh\ngrep -E "^(NoNewPrivs|CapEff|CapBnd):" /proc/self/status\nunshare --user true 2>/dev/null || echo refused',
    );
    expect(stdout.replace(/\s+/g, ' ')).toBe('CapEff: 0000000000000000 CapBnd: 0000000000000000 NoNewPrivs: 1 refused');
  });

  test.skipIf(process.getuid?.() !== 0)('a module whose parents only root may enter starts all the same', async () => {
    const closed = await mkdtemp(join(homedir(), '.modhost-closed-'));
    try {
      await chmod(closed, 0o700);
      const place = await createPlace('confined', closed);
      const { stdout, code } = await place.run(
        '#!/bin/sh\npwd; ls /mnt /media 2>/dev/null | wc -l; : > /data/x && echo writes',
      );
      expect({ stdout, code }).toEqual({ stdout: '/module\n0\nwrites', code: 0 });
    } finally {
      await rm(closed, { recursive: true, force: true });
    }
  });

  test('what the operator adds is shown read-only, and cannot cover the sandbox itself', async () => {
    const extra = join(inside.root, 'extra');
    await mkdir(extra);
    await writeFile(join(extra, 'file'), 'shown');
    const { stdout } = await inside.run(
      `#!/bin/sh\ncat ${extra}/file; echo; (echo x > ${extra}/file) || echo refused; ls ${inside.root}`,
      {
        extraReadOnly: [extra],
      },
    );
    expect(stdout.trim().split('\n')).toEqual(['shown', 'refused', 'extra']);
    for (const path of ['/', '/proc', '/proc/1', '/module', '/data/x', '/etc', 'relative', '/tmp']) {
      await expect(inside.start('#!/bin/sh\n', { extraReadOnly: [path] }), path).rejects.toMatchObject({
        reason: 'BAD_CONFIG',
      });
    }
  });

  test.skipIf(process.getuid?.() !== 0)('directories that the module could not use are refused in words', async () => {
    const foreign = join(inside.root, 'foreign');
    await mkdir(foreign);
    const { directories } = inside;
    await expect(inside.start('#!/bin/sh\n', { directories: { ...directories, data: foreign } })).rejects.toMatchObject(
      {
        reason: 'START_FAILED',
      },
    );
    await chmod(foreign, 0o700);
    await writeFile(join(foreign, 'main'), '#!/bin/sh\n', { mode: 0o755 });
    await expect(inside.start('#!/bin/sh\n', { directories: { ...directories, code: foreign } })).rejects.toMatchObject(
      {
        reason: 'START_FAILED',
      },
    );
  });
});
