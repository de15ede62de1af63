import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { bundleModule } from '../host/bundle-module.js';
import { createAsker, createPlace, type Place, type Started, writeConfig } from './command-line.js';

/** A real host with a real module, `talker`, which has the commands of `test/host/modules/talker.ts`. */
export interface TalkingHost {
  readonly place: Place;
  readonly host: Started;
  readonly ask: ReturnType<typeof createAsker>;
}

/** Bundles the module into the directory where a host finds it: its sandbox shows it nothing else. */
async function writeTalker(place: Place): Promise<void> {
  const dir = join(place.dir, 'm', 'talker');
  mkdirSync(dir, { recursive: true });
  await bundleModule(new URL('../host/modules/talker.ts', import.meta.url), join(dir, 'main.mjs'));
  place.write(
    'm/talker/module.toml',
    'name = "talker"\nversion = "1.0.0"\ncapabilities = ["register_rpc_endpoint", "read_chain_state"]\n[run]\ncommand = ["node", "/module/main.mjs"]\n',
  );
}

/** Starts them; `more` is added to the operator's file. */
export async function createTalkingHost(more = ''): Promise<TalkingHost> {
  const place = createPlace();
  // modules are users of their own
  chmodSync(place.dir, 0o711);
  writeConfig(
    place,
    `[sandbox]
minimum = "none"
[modules.talker]
unsigned = true
[modules.asleep]
enabled = false
run = "external"
unsigned = true
${more}`,
  );
  await writeTalker(place);
  place.write('m/asleep/module.toml', 'name = "asleep"\nversion = "2.0.0"\n');
  place.write('m/broken/module.toml', 'name = "broken"\n');
  const host = place.start('run', '--log-format', 'json');
  await host.until('"msg":"loaded"');
  return { place, host, ask: createAsker(place) };
}
