// The same in a queue: graphile-worker, one job a file, 50 at once. Jobs are fetched 500 at a time and reported done in
// batches, which is what it offers for many short jobs.
//
//   node queue.mjs install     makes its schema in the database
//   node queue.mjs             prints "ready", works until it gets SIGTERM
import { Logger, run, runMigrations } from 'graphile-worker';
import pg from 'pg';
import { concurrency, deleteImage } from './images.mjs';

const pgPool = new pg.Pool({ database: 'postgres', max: 20 });
pgPool.on('error', () => {}); // it asks for both handlers; a connection that was lost is made anew
pgPool.on('connect', (client) => client.on('error', () => {}));
const logger = new Logger(() => () => {}); // a failed job is kept and tried again; there is no need to hear of it
const options = { pgPool, logger };

if (process.argv[2] === 'install') {
  await runMigrations(options);
  await pgPool.end();
} else {
  const runner = await run({
    ...options,
    noHandleSignals: true,
    taskList: { delete_image: (job) => deleteImage(job.url) },
    preset: {
      worker: {
        concurrentJobs: concurrency,
        localQueue: { size: 500 },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
      },
    },
  });
  process.once('SIGTERM', async () => {
    await runner.stop();
    process.exit(0);
  });
  console.log('ready');
  await runner.promise;
}
