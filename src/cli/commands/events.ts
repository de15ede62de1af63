import { messagesOf } from '../../client/streams.js';
import { createContractRegistry } from '../../contract/descriptors.js';
import { HostError } from '../../contract/error.js';
import { type EventCatalogue, readEventTypes } from '../../contract/event-type.js';
import { nearest } from '../../core/nearest.js';
import { printable } from '../../core/printable.js';
import type { AskFlags, CommandContext } from '../context.js';
import { eventTitle, payloadText, toldEvent } from '../event-text.js';
import { EXIT } from '../exit.js';
import { followHost } from '../reach.js';

/** Flags of `modhost events`. */
export interface EventsFlags extends AskFlags {
  /** End after so many events. */
  count?: number;
}

/** `modhost events [TYPE...]`: events as they are published; a word with a dot is a topic of a module. */
export async function events(context: CommandContext, wanted: readonly string[], flags: EventsFlags): Promise<number> {
  const { terminal } = context;
  const words = context.words();
  const catalogue = readEventTypes(createContractRegistry());
  const topics = wanted.filter((word) => word.includes('.'));
  const types = wanted.filter((word) => !word.includes('.')).map((word) => typeOf(word, catalogue));
  const { paint } = terminal;
  await followHost(flags, context, async (client) => {
    let shown = 0;
    for await (const batch of messagesOf(client.admin.streamEvents({ types, topics }))) {
      for (const gap of batch.gaps) {
        if (flags.json === true) terminal.say(JSON.stringify({ gap: words.plain('modhost.event.v1.Gap', gap) }));
        else terminal.tell(`${gap.count} events were lost here: this terminal is slower than the host`);
      }
      for (const event of batch.events) {
        const facts = event.payload === undefined ? undefined : catalogue.byCase(event.payload.$case);
        const name = facts?.name ?? 'UNKNOWN';
        const told = toldEvent(words.plain('modhost.event.v1.Event', event), name, name.toLowerCase());
        if (flags.json === true) terminal.say(JSON.stringify(told));
        else {
          const time = `${new Date(Number(event.timeUnixMs)).toISOString().slice(11, 19)}Z`;
          const text = printable(payloadText(told.payload));
          terminal.say(
            `${paint('dim', time)} ${paint('bold', told.type)} ${paint('dim', printable(event.source))} ${text}`,
          );
        }
        shown += 1;
        if (shown === flags.count) return;
      }
    }
  });
  return EXIT.ok;
}

/** Number of a type by any of its spellings: `NewBlock`, `NEW_BLOCK`, `new_block`. */
function typeOf(word: string, catalogue: EventCatalogue) {
  const upper = word.toUpperCase();
  const squeezed = upper.replaceAll('_', '');
  const found = catalogue.all.find(({ name }) => name === upper || name.replaceAll('_', '') === squeezed);
  if (found !== undefined) return found.type;
  const titles = catalogue.all.map(({ name }) => eventTitle(name));
  const near = nearest(word, titles);
  const hint = near === undefined ? '' : `; did you mean ${near}?`;
  throw new HostError('UNKNOWN_ENUM', `no event type is called ${printable(word).slice(0, 64)}${hint}`);
}
