// The files of the web UI are kept by a service worker, so that it starts without the server.

/** Registers the service worker; only a secure address (https, or this machine) has one. */
export function keepFiles() {
  const worker = new URL('service_worker.js', document.baseURI);
  navigator.serviceWorker?.register(worker).catch(() => {}); // blocked by the browser: the server is asked each time
}
