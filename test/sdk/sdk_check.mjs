// Proves the emulator with the official Node SDK, unmodified: what the SDK's own types, error classes and retries make
// of the answers is what a client of the real service would see. The emulator's address comes in EMULATOR_URL.
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import ImageKit, { toFile } from '@imagekit/nodejs';

const address = process.env.EMULATOR_URL;
const client = new ImageKit({ baseURL: address, privateKey: 'private_test_acme', logLevel: 'off' });

async function control(method, call, body) {
  const answer = await fetch(`${address}/_control/${call}`, { method, body: body && JSON.stringify(body) });
  const json = await answer.json();
  assert.equal(answer.status, 200, JSON.stringify(json));
  return json;
}

async function journal(since, path) {
  return (await control('GET', `journal?since=${since}&path=${path}`)).entries;
}

// The error of a call that must fail, checked to be of the SDK's class.
async function failure(promise, errorClass) {
  const error = await promise.then(() => assert.fail('the call should have failed'), (e) => e);
  assert.ok(error instanceof errorClass, `${error}`);
  return error;
}

const unknownId = '0123456789abcdef01234567';
let ids;

beforeEach(async () => {
  await control('POST', 'reset');
  ({ fileIds: ids } = await control('POST', 'seed', [
    { filePath: '/pets/cat.jpg', size: 183442, tags: ['cat'], createdAt: '2025-03-04T10:11:12.345Z' },
    { filePath: '/pets/old/cat.jpg' },
    '/pets/dog (1)+é.jpg',
    '/manual.pdf',
  ]));
});

test('lists files, page by page', async () => {
  const all = await client.assets.list({ type: 'file', sort: 'ASC_NAME' });
  assert.deepEqual(all.map((f) => f.filePath).sort(),
    ['/manual.pdf', '/pets/cat.jpg', '/pets/dog (1)+é.jpg', '/pets/old/cat.jpg']);
  const page = await client.assets.list({ limit: 1, skip: 3, sort: 'ASC_NAME' });
  assert.equal(page.length, 1);
  assert.equal(page[0].filePath, '/manual.pdf');
  const folders = await client.assets.list({ type: 'folder' });
  assert.deepEqual(folders.map((f) => f.folderPath).sort(), ['/pets', '/pets/old']);
});

test('searches by name, by folder, with IN and with a folder in the query', async () => {
  const paths = async (query) => (await client.assets.list(query)).map((f) => f.filePath).sort();
  assert.deepEqual(await paths({ searchQuery: 'type = "file" AND name = "cat.jpg"' }),
    ['/pets/cat.jpg', '/pets/old/cat.jpg']);
  assert.deepEqual(await paths({ path: '/pets', searchQuery: 'type = "file" AND name = "cat.jpg"' }),
    ['/pets/cat.jpg']);
  assert.deepEqual(await paths({ path: '/pets', searchQuery: 'name IN ["cat.jpg","dog (1)+é.jpg","none.jpg"]' }),
    ['/pets/cat.jpg', '/pets/dog (1)+é.jpg']);
  assert.deepEqual(await paths({ searchQuery: 'type = "file" AND path = "/pets/old/"' }), ['/pets/old/cat.jpg']);
  assert.deepEqual(await paths({ searchQuery: 'name = "nothing.jpg"' }), []);
});

test('refuses a bad search and bad limits with the documented messages', async () => {
  const search = await failure(client.assets.list({ searchQuery: 'filePath = "/a.jpg"' }), ImageKit.BadRequestError);
  assert.match(search.error.message, /^Invalid search query - filePath field/);
  const limit = await failure(client.assets.list({ limit: 1001 }), ImageKit.BadRequestError);
  assert.equal(limit.error.message, 'Maximum value of limit parameter is 1000. Value sent is 1001.');
});

test('gives details and metadata', async () => {
  const file = await client.files.get(ids[0]);
  assert.equal(file.fileId, ids[0]);
  assert.equal(file.type, 'file');
  assert.equal(file.size, 183442);
  assert.deepEqual(file.tags, ['cat']);
  assert.equal(file.createdAt, '2025-03-04T10:11:12.345Z');
  assert.match(file.url, /^https:\/\/ik\.imagekit\.io\/acme\/pets\/cat\.jpg\?updatedAt=\d+$/);
  assert.equal((await client.files.metadata.get(ids[0])).format, 'jpg');
  await failure(client.files.get(unknownId), ImageKit.NotFoundError);
  await failure(client.files.get('cat_B1iTdD0C.jpg'), ImageKit.BadRequestError);
});

test('deletes a file once', async () => {
  await client.files.delete(ids[0]);
  const again = await failure(client.files.delete(ids[0]), ImageKit.NotFoundError);
  assert.equal(again.error.message, 'The requested file does not exist.');
  assert.deepEqual(await control('GET', 'files?prefix=/pets/cat'), []);
});

test('deletes in bulk, all or nothing', async () => {
  const refused = await failure(client.files.bulk.delete({ fileIds: [ids[0], unknownId] }), ImageKit.NotFoundError);
  assert.deepEqual(refused.error.missingFileIds, [unknownId]);
  assert.equal((await control('GET', 'count')).count, 4);
  const done = await client.files.bulk.delete({ fileIds: [ids[0], ids[1]] });
  assert.deepEqual(done.successfullyDeletedFileIds, [ids[0], ids[1]]);
  assert.equal((await control('GET', 'count')).count, 2);
});

test('purges a URL and reports the status', async () => {
  await control('POST', 'switches', { purge_pending_ms: 60000 });
  const purge = await client.cache.invalidation.create({ url: 'https://ik.imagekit.io/acme/pets/cat.jpg*' });
  assert.match(purge.requestId, /^[0-9a-f]{24}$/);
  assert.equal((await client.cache.invalidation.get(purge.requestId)).status, 'Pending');
  await control('POST', 'switches', { purge_pending_ms: 0 });
  assert.equal((await client.cache.invalidation.get(purge.requestId)).status, 'Completed');
  await failure(client.cache.invalidation.create({ url: 'https://else.example/cat.jpg' }), ImageKit.BadRequestError);
});

test('reports usage and URL endpoints', async () => {
  const usage = await client.accounts.usage.get({ startDate: '2025-03-01', endDate: '2025-04-01' });
  assert.equal(usage.mediaLibraryStorageBytes, 183442 + 3 * 1024);
  const endpoints = await client.accounts.urlEndpoints.list();
  assert.equal(endpoints[0].id, 'default');
});

test('refuses a wrong, an expired and a restricted key', async () => {
  const stranger = client.withOptions({ privateKey: 'private_wrong' });
  const wrong = await failure(stranger.assets.list(), ImageKit.PermissionDeniedError);
  assert.equal(wrong.error.message, 'Your account cannot be authenticated.');
  await control('POST', 'accounts', {
    account: 'acme',
    add_keys: [{ key: 'private_reader', rights: { media: 'read' } }],
    expire_keys: ['private_test_acme'],
  });
  const expired = await failure(client.assets.list(), ImageKit.PermissionDeniedError);
  assert.equal(expired.error.message, 'Your request contains expired private API key.');
  const reader = client.withOptions({ privateKey: 'private_reader' });
  assert.equal((await reader.assets.list()).length, 4);
  await failure(reader.files.delete(ids[0]), ImageKit.PermissionDeniedError);
});

test('retries after 429 and gives up when it lasts', async () => {
  const { last } = await control('GET', 'journal?limit=0');
  await control('POST', 'faults', { kind: 'rate_limited', count: 2, reset: 700 });
  assert.equal((await client.assets.list()).length, 4);
  assert.deepEqual((await journal(last, '/v1/files')).map((e) => e.status), [429, 429, 200]);
  await control('POST', 'faults', { kind: 'rate_limited', count: 0, reset: 700 });
  const error = await failure(client.withOptions({ maxRetries: 0 }).assets.list(), ImageKit.RateLimitError);
  assert.equal(error.headers.get('x-ratelimit-reset'), '700');
});

test('a reset before the commit is retried; one after it ends in 404', async () => {
  await control('POST', 'faults', { kind: 'reset_before', method: 'DELETE' });
  await client.files.delete(ids[0]);
  await control('POST', 'faults', { kind: 'reset_after', method: 'DELETE' });
  await failure(client.files.delete(ids[1]), ImageKit.NotFoundError);
  assert.equal((await control('GET', 'count')).count, 2);
});

test('an HTML page is no JSON error', async () => {
  await control('POST', 'faults', { kind: 'html_502', count: 0 });
  const error = await failure(client.withOptions({ maxRetries: 0 }).assets.list(), ImageKit.InternalServerError);
  assert.equal(error.status, 502);
});

test('uploads, again as a new version, and deletes a version', async () => {
  const upload = (text) => toFile(Buffer.from(text), 'new.jpg').then((file) =>
    client.files.upload({ file, fileName: 'new.jpg', folder: '/up', useUniqueFileName: false, tags: ['a', 'b'] }));
  const first = await upload('12345');
  assert.equal(first.filePath, '/up/new.jpg');
  assert.equal(first.size, 5);
  assert.deepEqual(first.tags, ['a', 'b']);
  const second = await upload('1234567');
  assert.equal(second.fileId, first.fileId);
  assert.equal(second.versionInfo.name, 'Version 2');
  const versions = await client.files.versions.list(first.fileId);
  assert.deepEqual(versions.map((v) => v.type), ['file', 'file-version']);
  await failure(client.files.versions.delete(versions[0].versionInfo.id, { fileId: first.fileId }),
    ImageKit.BadRequestError);
  await client.files.versions.delete(versions[1].versionInfo.id, { fileId: first.fileId });
  assert.equal((await client.files.versions.list(first.fileId)).length, 1);
  const unique = await client.files.upload({ file: await toFile(Buffer.from('x'), 'y.jpg'), fileName: 'a b.jpg' });
  assert.match(unique.filePath, /^\/a_b_[A-Za-z0-9_-]{9}\.jpg$/);
});

test('renames, moves, copies; makes and deletes folders', async () => {
  await client.files.rename({ filePath: '/pets/cat.jpg', newFileName: 'tom.jpg' });
  assert.equal((await client.files.get(ids[0])).filePath, '/pets/tom.jpg');
  await client.files.move({ sourceFilePath: '/pets/tom.jpg', destinationPath: '/bin' });
  assert.equal((await client.files.get(ids[0])).filePath, '/bin/tom.jpg');
  await client.files.copy({ sourceFilePath: '/bin/tom.jpg', destinationPath: '/pets' });
  await failure(client.files.rename({ filePath: '/pets/tom.jpg', newFileName: 'dog (1)+é.jpg' }),
    ImageKit.ConflictError);
  await client.folders.create({ folderName: 'new folder', parentFolderPath: '/pets' });
  await client.folders.delete({ folderPath: '/pets' });
  const gone = await failure(client.folders.delete({ folderPath: '/pets' }), ImageKit.NotFoundError);
  assert.equal(gone.error.reason, 'FOLDER_NOT_FOUND');
  assert.deepEqual((await control('GET', 'files')).map((f) => f.filePath), ['/bin/tom.jpg', '/manual.pdf']);
});

test('another account sees nothing of this one', async () => {
  await control('POST', 'accounts', { account: 'other', keys: ['private_other'] });
  const other = client.withOptions({ privateKey: 'private_other' });
  assert.deepEqual(await other.assets.list(), []);
  await failure(other.files.delete(ids[0]), ImageKit.NotFoundError);
  assert.equal((await control('GET', 'count?account=acme')).count, 4);
});

test('the journal never holds a key', async () => {
  await client.assets.list({ searchQuery: 'name = "private_test_acme"' });
  const text = JSON.stringify(await control('GET', 'journal'));
  assert.ok(text.includes('searchQuery') && !text.includes('private_test_acme'));
});
