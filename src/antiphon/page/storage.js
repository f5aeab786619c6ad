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

export function save(key, value) {
  const isEmpty = value === '' || value === null || value.length === 0;
  try {
    if (isEmpty) sessionStorage.removeItem(`antiphon.${key}`);
    else sessionStorage.setItem(`antiphon.${key}`, JSON.stringify(value));
    memory.delete(key);
  } catch {
    memory.set(key, value);
  }
}
