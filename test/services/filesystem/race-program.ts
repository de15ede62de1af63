/** The race as a program of its own, for another user: prints what it has shown. */
import { race } from './race.js';

const [swapper = '', rounds = '0', uid = '0'] = process.argv.slice(2);
process.stdout.write(`${JSON.stringify(await race(swapper, Number(rounds), Number(uid)))}\n`);
