// Drives the npm package `bitcoin-core`, unchanged: reads what to call from its argument, prints what came of it.
const Client = require('bitcoin-core');

const { port, user, password, calls } = JSON.parse(process.argv[2]);
const client = new Client({ host: `http://127.0.0.1:${port}`, username: user, password });

const outcome = (work) =>
  work.then(
    (result) => ({ result }),
    ({ code, message }) => ({ error: { code, message } }),
  );
const callOf = ([method, ...parameters]) => ({ method, parameters });

(async () => {
  const outcomes = [];
  for (const call of calls) {
    if (call.batch === undefined) {
      outcomes.push(await outcome(client.command(call[0], ...call.slice(1))));
    } else {
      const answers = await client.command(call.batch.map(callOf));
      outcomes.push(
        answers.map((answer) =>
          answer instanceof Error ? { error: { code: answer.code, message: answer.message } } : { result: answer },
        ),
      );
    }
  }
  process.stdout.write(JSON.stringify(outcomes));
})();
