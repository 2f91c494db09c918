// What both rivals share, as an application developer writes it with the official SDK: the URL's path, a search for its
// name in its folder, the hit whose filePath is the same, its deletion. Retries are the SDK's own (two, on 429 and 5xx too).
import ImageKit from '@imagekit/nodejs';

const client = new ImageKit({
  privateKey: process.env.IMAGEKIT_PRIVATE_KEY,
  baseURL: process.env.IMAGEKIT_API_URL,
  logLevel: 'off',
});

const endpoint = 'https://ik.imagekit.io/acme';

export const concurrency = 50;

// True when it was there; an error is thrown.
export async function deleteImage(url) {
  const filePath = decodeURIComponent(url.slice(endpoint.length).split('?')[0]);
  const slash = filePath.lastIndexOf('/');
  const hits = await client.assets.list({
    path: filePath.slice(0, slash) || '/',
    searchQuery: `type = "file" AND name = "${filePath.slice(slash + 1)}"`,
    limit: 10,
  });
  const file = hits.find((hit) => hit.filePath === filePath);
  if (!file) return false;
  await client.files.delete(file.fileId);
  return true;
}
