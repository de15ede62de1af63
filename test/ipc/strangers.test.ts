import { spawn } from 'node:child_process';
import { chmodSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from 'vitest';
import { SessionServiceClient } from '../../gen/ts/modhost/v1/session.js';
import { createRig, type Rig, reasonOf, unary } from './rig.js';

/** A user that owns nothing ("nobody" on every distribution). */
const NOBODY = 65_534;

let rig: Rig;
afterEach(() => rig.dispose());

/** What a connection by a process of this user comes to. */
async function connectAs(uid: number, path: string): Promise<string> {
  const program =
    'import errno,socket,sys\ns=socket.socket(socket.AF_UNIX)\ntry:\n s.connect(sys.argv[1]); print("connected")\n' +
    'except OSError as e:\n print(errno.errorcode[e.errno])';
  const child = spawn('python3', ['-c', program, path], {
    uid,
    gid: uid,
    cwd: '/',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return (await text(child.stdout)).trim();
}

describe('C090: a stranger on the machine', () => {
  it.skipIf(process.getuid?.() !== 0)(
    'of another user is refused by the kernel, even where the directory lets him pass',
    async () => {
      rig = await createRig();
      expect(statSync(rig.socketPath).mode & 0o777).toBe(0o600);
      expect(await connectAs(NOBODY, rig.socketPath)).toBe('EACCES');
      chmodSync(dirname(rig.socketPath), 0o711);
      expect(await connectAs(NOBODY, rig.socketPath)).toBe('EACCES');
      expect(await connectAs(0, rig.socketPath)).toBe('connected');
    },
  );

  it('of the same user without the token opens no session and calls nothing', async () => {
    rig = await createRig({ permissions: ['READ_BLOCKCHAIN'] });
    const session = rig.client(SessionServiceClient);
    const claims = { moduleName: 'probe', moduleVersion: '1.2.3', protocolMin: 1, protocolMax: 1 };
    const shake = (token: Uint8Array): Promise<string> =>
      reasonOf(unary((cb) => session.handshake({ token, ...claims, sdkName: '', sdkVersion: '' }, cb)));
    expect(await shake(new Uint8Array(0))).toBe('FIELD_REQUIRED');
    expect(await shake(new Uint8Array(32))).toBe('BAD_TOKEN');
    expect(await reasonOf(unary((cb) => session.getContext({}, cb)))).toBe('HANDSHAKE_REQUIRED');
    expect(rig.session.state()).toBe('waiting');
  });
});
