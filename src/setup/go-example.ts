import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { findProgram, run, runAll } from './command.js';
import { OLDEST_GO, PROTOC_GEN_GO_GRPC_VERSION, PROTOC_GEN_GO_VERSION } from './pins.js';
import { createStamp } from './stamp.js';
import type { Step } from './step.js';

/** Folder of the example below the package root. */
const EXAMPLE = 'conformance/modules/go';
/** Where Go puts itself when it was not installed by a package manager. */
const USUAL_GO_FOLDERS = ['/usr/local/go/bin', '/usr/lib/go/bin'];

/** Path of a Go that is new enough for the example, or undefined. */
export async function findGo(): Promise<string | undefined> {
  const go = findProgram('go', USUAL_GO_FOLDERS);
  if (go === undefined) return undefined;
  const { ok, tail } = await run(go, ['version']);
  const version = /\bgo(\d+)\.(\d+)/.exec(tail);
  if (!ok || version === null) return undefined;
  const [major, minor] = [Number(version[1]), Number(version[2])];
  const [oldestMajor, oldestMinor] = OLDEST_GO;
  return major > oldestMajor || (major === oldestMajor && minor >= oldestMinor) ? go : undefined;
}

/** Builds the Go example: stubs from `proto/` into its `gen/`, program into its `build/`. */
export async function goExample(root: string): Promise<Step> {
  const go = await findGo();
  const folder = join(root, EXAMPLE);
  const plugins = join(root, '.cache', 'bin');
  return {
    name: 'Go example',
    usual: 'a minute the first time',
    obstacle: obstacleOf(folder, go),
    stamp: createStamp({
      root,
      name: 'go-example',
      inputs: ['proto', EXAMPLE, 'src/setup'],
      outputs: [`${EXAMPLE}/build`, `${EXAMPLE}/gen`],
      also: [process.arch],
    }),
    work: () => {
      // No C compiler is asked for, and a checkout that git distrusts must not fail the build.
      const env = { GOBIN: plugins, CGO_ENABLED: '0', GOFLAGS: '-buildvcs=false' };
      const program = go ?? 'go';
      return runAll([
        [program, ['install', `google.golang.org/protobuf/cmd/protoc-gen-go@${PROTOC_GEN_GO_VERSION}`], { env }],
        [program, ['install', `google.golang.org/grpc/cmd/protoc-gen-go-grpc@${PROTOC_GEN_GO_GRPC_VERSION}`], { env }],
        [join(root, 'node_modules/.bin/buf'), bufArguments(root, folder, plugins)],
        [program, ['build', '-trimpath', '-o', 'build/', '.'], { cwd: folder, env }],
      ]);
    },
  };
}

function obstacleOf(folder: string, go: string | undefined): string | undefined {
  if (!existsSync(join(folder, 'go.mod'))) return 'it is not part of this checkout';
  return go === undefined ? `no Go ${OLDEST_GO.join('.')} or newer here (Debian: golang-go)` : undefined;
}

/** Arguments of buf that give every file of the contract its Go import path, which the protos themselves leave open. */
function bufArguments(root: string, folder: string, plugins: string): string[] {
  const modulePath = /^module\s+(\S+)/m.exec(readFileSync(join(folder, 'go.mod'), 'utf8'))?.[1] ?? 'example';
  const plugin = (name: string) => ({ local: join(plugins, name), out: 'gen', opt: ['paths=source_relative'] });
  const template = {
    version: 'v2',
    clean: true,
    managed: { enabled: true, override: [{ file_option: 'go_package_prefix', value: `${modulePath}/gen` }] },
    plugins: [plugin('protoc-gen-go'), plugin('protoc-gen-go-grpc')],
  };
  const proto = join(root, 'proto');
  const paths = ['modhost/v1', 'modhost/event/v1'].flatMap((path) => ['--path', join(proto, path)]);
  return ['generate', proto, '--template', JSON.stringify(template), '-o', folder, ...paths];
}
