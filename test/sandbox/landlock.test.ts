import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, stat, symlink, writeFile } from 'node:fs/promises';
import type { Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FIRST_MODULE_UID } from '../../src/sandbox/identity.js';
import { createListeners } from './listeners.js';
import { createPlace, type Place, sandboxToolchain } from './spawn-module.js';

const { skip } = await sandboxToolchain();

/** What a curious module tries, itself and by a child of its own; prints one JSON object. */
// Node binds abstract names that are filled up to the whole length
const CURIOUS = `
import ctypes, json, mmap, os, signal, socket, subprocess, sys
secret, port, host, name, foreign, mode = sys.argv[1:7]
def tried(act):
    try:
        return str(act())
    except OSError as error:
        return os.strerror(error.errno)
def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as peer:
        peer.settimeout(3)
        peer.connect(address)
        return 'connected'
def write(path):
    with open(path, 'w') as stream:
        stream.write('x')
    return 'written'
data, own = os.environ['MODHOST_DATA_DIR'], os.environ['MODHOST_SOCKET']
code = os.path.dirname(os.path.abspath(sys.argv[0]))
seen = {
    'secret': tried(lambda: open(secret).read()),
    'link': tried(lambda: open(data + '/link').read()),
    'dots': tried(lambda: open(data + '/../secret').read()),
    'root': tried(lambda: open('/proc/self/root' + secret).read()),
    'listing': tried(lambda: len(os.listdir('/proc')) > 0),
    'host': tried(lambda: len(open('/proc/%s/cmdline' % host).read()) > 0),
    'signal': tried(lambda: os.kill(int(host), 0)),
    'tcp': tried(lambda: connect(socket.AF_INET, ('127.0.0.1', int(port)))),
    'abstract': tried(lambda: connect(socket.AF_UNIX, ('\\0' + name).ljust(108, '\\0'))),
    'own': tried(lambda: connect(socket.AF_UNIX, own)),
    'foreign': tried(lambda: connect(socket.AF_UNIX, foreign)),
    'data': tried(lambda: write(data + '/written')),
    'code': tried(lambda: write(code + '/written')),
    'sockets': tried(lambda: write(os.path.dirname(own) + '/written')),
    # Python adds LC_CTYPE itself
    'environment': sorted(key for key in os.environ if key != 'LC_CTYPE'),
    'declared': os.environ.get('LD_PRELOAD'),
    'ids': [os.getuid(), os.getgid(), os.getgroups()],
    'executable': len(mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)),
}
if mode == 'parent':
    answer = subprocess.run([sys.executable, sys.argv[0], *sys.argv[1:6], 'child'], stdout=subprocess.PIPE)
    seen['child'] = json.loads(answer.stdout)
print(json.dumps(seen))
`;

describe.skipIf(skip)('a module without namespaces, and the same program unconfined', () => {
  let inside: Place;
  let outside: Place;
  let tcp: Server;
  const { listen, close } = createListeners();
  const secretText = randomBytes(16).toString('hex');
  const name = `modhost-test-${randomBytes(6).toString('hex')}`;
  let foreign = '';

  const look = async (place: Place): Promise<Record<string, unknown>> => {
    const { port } = tcp.address() as { port: number };
    const answer = await place.run(CURIOUS, {
      command: [
        ...['python', join(place.engine.view(place.directories).code, 'main'), join(place.root, 'secret')],
        ...[String(port), String(process.pid), name, foreign, 'parent'],
      ],
      env: new Map([['LD_PRELOAD', '']]),
    });
    expect(answer.stderr).toBe('');
    return JSON.parse(answer.stdout) as Record<string, unknown>;
  };

  beforeAll(async () => {
    inside = await createPlace('landlock');
    outside = await createPlace('unconfined');
    tcp = await listen({ port: 0, host: '127.0.0.1' });
    await listen({ path: `\0${name}` });
    const neighbour = join(inside.root, 'neighbour');
    foreign = join(neighbour, 'host.sock');
    await mkdir(neighbour, { mode: 0o700 });
    await listen({ path: foreign });
    for (const place of [inside, outside]) {
      await writeFile(join(place.root, 'secret'), secretText, { mode: 0o444 });
      await symlink(join(place.root, 'secret'), join(place.directories.data, 'link'));
      const path = join(place.directories.socket, 'module.sock');
      await listen({ path });
      const { uid, gid } = await stat(place.directories.socket);
      await chown(path, uid, gid);
      await chmod(path, 0o600);
    }
    if (inside.ownUsers) {
      for (const path of [foreign, neighbour]) await chown(path, FIRST_MODULE_UID + 90_001, FIRST_MODULE_UID + 90_001);
    }
  });
  afterAll(async () => {
    close();
    await inside?.remove();
    await outside?.remove();
  });

  test('every refusal inside, for its children as for itself, every success outside', async () => {
    expect(inside.engine.name).toBe('landlock');
    const success = {
      ...{ secret: secretText, link: secretText, dots: secretText, root: secretText },
      ...{ listing: 'True', host: 'True', signal: 'None', tcp: 'connected', abstract: 'connected', own: 'connected' },
      ...{ foreign: 'connected', data: 'written', code: 'written', sockets: 'written' },
    };
    const control = await look(outside);
    expect(control).toMatchObject({ ...success, child: success });
    const denied = 'Permission denied';
    const refusal = {
      ...{ secret: denied, link: denied, dots: denied, root: denied, listing: denied, host: denied },
      ...{ signal: 'Operation not permitted', tcp: 'Address family not supported by protocol' },
      ...{ abstract: 'Operation not permitted', own: 'connected', data: 'written', code: denied, sockets: denied },
    };
    const seen = await look(inside);
    expect(seen).toMatchObject({ ...refusal, child: { ...refusal } });
    // sockets in the file system are held back by their modes alone, and the containment says so
    const network = inside.engine.containment().find((promise) => promise.name === 'network');
    expect(seen.foreign).toBe(inside.ownUsers ? denied : 'connected');
    if (!inside.ownUsers) expect(network?.state).toBe('none');
    expect(seen.environment).toEqual([
      ...['DATA_DIR', 'LD_PRELOAD', 'MODHOST_DATA_DIR', 'MODHOST_INSTANCE_ID', 'MODHOST_MODULE_ID', 'MODHOST_SOCKET'],
      ...['MODHOST_TOKEN_FILE', 'MODULE_ID', 'MODULE_NAME', 'PATH', 'PWD', 'SOCKET_PATH'],
    ]);
    if (inside.ownUsers) expect(seen.ids).toEqual([FIRST_MODULE_UID + 90_000, FIRST_MODULE_UID + 90_000, []]);
  });

  test('programs of the module and of Node run under it, and end as they end', async () => {
    expect(await inside.run('#!/bin/sh\necho out; echo err >&2; exit 7\n')).toMatchObject({
      ...{ code: 7, stdout: 'out', stderr: 'err' },
    });
    const node = await inside.run("console.log(require('node:os').cpus().length > 0, process.cwd())", {
      command: ['node', join(inside.directories.code, 'main')],
    });
    expect(node).toMatchObject({ code: 0, stdout: `true ${inside.directories.code}` });
    const running = await inside.start('#!/bin/sh\nexec sleep 60\n');
    await running.kill();
    expect(await running.exited).toMatchObject({ signal: 'SIGKILL' });
  });

  test('what cannot be given is refused in words', async () => {
    await expect(inside.start('#!/bin/sh\n', { network: { hosts: [] } })).rejects.toMatchObject({
      reason: 'NETWORK_UNAVAILABLE',
    });
    await expect(inside.start('#!/bin/sh\n', { extraReadOnly: ['/nowhere/at/all'] })).rejects.toMatchObject({
      reason: 'START_FAILED',
      message: expect.stringContaining('/nowhere/at/all'),
    });
  });
});
