// What was read last, kept in this browser for when the server cannot be reached: the list, and the newest messages of
// the chats that were opened last. It is deleted when the owner signs out, or another one signs in.

const NAME = 'antiphon';
const STORE = 'kept';
const CHATS_MAX = 50;
/** Entries that are no chats: the list, and the owner. */
const OTHERS = 2;
const LISTED_MAX = 200;
const MESSAGES_MAX = 50;
/** Maximum size of a kept chat, in characters of JSON. */
const CHARS_MAX = 500_000;

let opened = null;

/** The database; null where the browser has none, or forbids it. */
function open() {
  opened ??= new Promise((resolve) => {
    if (!globalThis.indexedDB) return resolve(null);
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: 'key' });
    request.onsuccess = () => resolve(request.result);
    request.onerror = request.onblocked = () => resolve(null);
  }).catch(() => null);
  return opened;
}

async function run(mode, work) {
  const database = await open();
  if (!database) return undefined;
  return new Promise((resolve) => {
    const transaction = database.transaction(STORE, mode);
    const request = work(transaction.objectStore(STORE));
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onerror = transaction.onabort = () => resolve(undefined); // full or forbidden: nothing is kept
  });
}

/** Keeps the list of chats. */
export const keepList = (chats) =>
  run('readwrite', (store) => store.put({ key: 'list', at: Date.now(), chats: chats.slice(0, LISTED_MAX) }));

/** Keeps what a chat shows: its newest messages. The chats that were kept first are deleted. */
export async function keepView(chatId, { chat, messages, seq, status, hasMore }) {
  let kept = messages.slice(-MESSAGES_MAX);
  while (kept.length && JSON.stringify(kept).length > CHARS_MAX) kept = kept.slice(Math.ceil(kept.length / 2));
  const isCut = hasMore || kept.length < messages.length;
  await run('readwrite', (store) =>
    store.put({ key: `chat ${chatId}`, at: Date.now(), chat: { ...chat, seq, status }, messages: kept, isCut }),
  );
  const count = await run('readonly', (store) => store.count());
  if (!(count > CHATS_MAX + OTHERS)) return; // reading all of them takes megabytes
  const all = (await run('readonly', (store) => store.getAll())) ?? [];
  const old = all.filter(({ key }) => key.startsWith('chat ')).sort((a, b) => b.at - a.at);
  for (const { key } of old.slice(CHATS_MAX)) await run('readwrite', (store) => store.delete(key));
}

/** {at, chats}, or undefined. */
export const keptList = () => run('readonly', (store) => store.get('list'));

/** {at, chat, messages, isCut}, or undefined. */
export const keptView = (chatId) => run('readonly', (store) => store.get(`chat ${chatId}`));

/** Forgets a deleted chat. */
export const forgetChat = (chatId) => run('readwrite', (store) => store.delete(`chat ${chatId}`));

/** Deletes all that is kept. */
export const forgetAll = () => run('readwrite', (store) => store.clear());

/** Deletes what another owner has read in this browser. */
export async function keepFor(ownerId) {
  const known = await run('readonly', (store) => store.get('owner'));
  if (known && known.ownerId !== ownerId) await forgetAll();
  await run('readwrite', (store) => store.put({ key: 'owner', ownerId }));
}
