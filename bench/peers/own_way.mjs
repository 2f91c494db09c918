// The application's own way: delete the rows, then their images, 50 at once, and forget what failed.
//
//   node own_way.mjs ROWS      the rows of own.patches with an id below that; PGHOST, PGPORT and PGUSER say where
//
// Prints {"deleted", "failed"}.
import pg from 'pg';
import { concurrency, deleteImage } from './images.mjs';

const database = new pg.Client({ database: 'postgres' });
await database.connect();
const { rows } = await database.query(
  `DELETE FROM own.patches WHERE id < $1 RETURNING images, schema->>'imageUrl' AS image`, [process.argv[2]]);
await database.end();

const urls = rows.flatMap((row) => [...row.images, row.image]);
const counts = { deleted: 0, failed: 0 };
async function work() {
  for (let url = urls.pop(); url !== undefined; url = urls.pop()) {
    try {
      await deleteImage(url);
      counts.deleted += 1;
    } catch {
      counts.failed += 1;
    }
  }
}
await Promise.all(Array.from({ length: concurrency }, work));
console.log(JSON.stringify(counts));
