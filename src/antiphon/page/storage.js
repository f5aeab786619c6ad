// Storage that survives a reload of this tab: unsent text and unconfirmed messages. JSON in sessionStorage, or in memory
// if sessionStorage is blocked or full.

const memory = new Map();

export function load(key, otherwise) {
  try {
    return JSON.parse(sessionStorage.getItem(`antiphon.${key}`)) ?? memory.get(key) ?? otherwise;
  } catch {
    return memory.get(key) ?? otherwise;
  }
}

let isClosed = false;

/** Deletes all of it, before the page is left: nothing is stored after that. */
export function clearStorage() {
  isClosed = true;
  memory.clear();
  try {
    sessionStorage.clear();
  } catch {
    // blocked: nothing was stored
  }
}

export function save(key, value) {
  if (isClosed) return;
  const isEmpty = value === '' || (value ?? null) === null || value.length === 0;
  try {
    if (isEmpty) sessionStorage.removeItem(`antiphon.${key}`);
    else sessionStorage.setItem(`antiphon.${key}`, JSON.stringify(value));
    memory.delete(key);
  } catch {
    memory.set(key, value);
  }
}
