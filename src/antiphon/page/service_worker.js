// Keeps the files of the web UI, so that it starts without the server. The server fills in the version and the list of
// the files. The page itself comes from the server if that answers in time; requests of the API are never touched.

const CACHE = `antiphon-${'__VERSION__'}`;
const FILES = ['__FILES__'];
const PAGE = './';
const ANSWER_MS = 3_000;

self.addEventListener('install', (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES)).then(() => self.skipWaiting()));
});

self.addEventListener('activate', (event) => {
  event.waitUntil(
    caches
      .keys()
      .then((names) => names.filter((name) => name.startsWith('antiphon-') && name !== CACHE))
      .then((old) => Promise.all(old.map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener('fetch', (event) => {
  const { request } = event;
  const { origin, pathname, search } = new URL(request.url);
  const place = new URL(PAGE, self.location.href);
  if (request.method !== 'GET' || origin !== place.origin) return;
  if (pathname === place.pathname && !search && request.mode === 'navigate') event.respondWith(page(request));
  else if (pathname.startsWith(`${place.pathname}assets/`)) event.respondWith(asset(request));
});

/** The page of the server, or the kept one if the server does not answer. */
async function page(request) {
  const kept = await caches.match(PAGE);
  const answer = fetch(request);
  if (!kept) return answer;
  const isLate = new Promise((resolve) => setTimeout(resolve, ANSWER_MS));
  try {
    const first = await Promise.race([answer, isLate]);
    return first?.ok ? first : kept;
  } catch {
    return kept;
  }
}

/** A file of this version never changes: the kept one, else that of the server, which is kept from now on. */
async function asset(request) {
  const kept = await caches.match(request);
  if (kept) return kept;
  const answer = await fetch(request);
  if (answer.ok && answer.headers.get('cache-control')?.includes('immutable')) {
    const cache = await caches.open(CACHE);
    await cache.put(request, answer.clone());
  }
  return answer;
}
