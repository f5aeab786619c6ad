// What a person can do with a chat: the same in the list, in the head, and in the palette.

import { path, url } from './api.js';
import { archive, loadedChats, rename, setLabels, setPin, titleOf } from './chats.js';
import { labelsText, parseLabels } from './chat_rows.js';
import { prompt } from './components/dialog.js';
import { removeWithUndo } from './deletion.js';
import { report, sentenceOf } from './notice.js';
import { sharedChat } from './shares.js';
import { showToast } from './toast.js';

const TITLE_CHARS_MAX = 256;
const LABELS_CHARS_MAX = 2_000;

/** The actions for a chat: {name, icon, label, keys?, isDanger?, run}. */
export function commandsOf(chat) {
  const isPinned = Boolean(chat.pin_order);
  return [
    { name: 'rename', icon: 'pencil', label: 'Rename', keys: 'F2', run: () => renameChat(chat) },
    { name: 'pin', icon: 'pin', label: isPinned ? 'Unpin' : 'Pin', run: () => togglePin(chat) },
    ...(isPinned ? pinMoves(chat) : []),
    { name: 'labels', icon: 'label', label: 'Labels…', run: () => editLabels(chat) },
    { name: 'share', icon: 'link', label: 'Share…', run: () => (sharedChat.value = chat) },
    { name: 'export', icon: 'download', label: 'Export as Markdown', run: () => exportChat(chat, 'markdown') },
    { name: 'export-json', icon: 'download', label: 'Export as JSON', run: () => exportChat(chat, 'json') },
    {
      name: 'archive',
      icon: chat.archived ? 'restore' : 'archive',
      label: chat.archived ? 'Restore from the archive' : 'Archive',
      run: () => toggleArchive(chat),
    },
    { name: 'delete', icon: 'trash', label: 'Delete', keys: 'Del', isDanger: true, run: () => deleteChat(chat) },
  ];
}

export const renameChat = (chat) =>
  prompt({
    title: 'Rename this chat',
    label: 'Title',
    value: chat.title,
    yes: 'Rename',
    length_max: TITLE_CHARS_MAX,
    save: (title) => problemOf(() => rename(chat.id, title)),
  });

const editLabels = (chat) =>
  prompt({
    title: 'Labels of this chat',
    label: 'Labels, with commas between them',
    hint: 'For example: work, project: apollo',
    value: labelsText(chat.labels),
    yes: 'Save',
    length_max: LABELS_CHARS_MAX,
    isEmptyAllowed: true,
    save: (text) => {
      const { labels, problem } = parseLabels(text);
      return problem ?? problemOf(() => setLabels(chat.id, labels));
    },
  });

/** The browser downloads the file; its name comes with it. */
function exportChat(chat, format) {
  const href = `${url(path('chats', chat.id, 'export'))}?format=${format}`;
  Object.assign(document.createElement('a'), { href, download: '' }).click();
}

/** Runs `action`. Resolves to the sentence of its failure, or ''. */
const problemOf = (action) => action().then(() => '', sentenceOf);

async function toggleArchive(chat) {
  const isArchived = !chat.archived;
  if (!(await report(() => archive(chat.id, isArchived)))) return;
  showToast({
    text: isArchived ? `“${titleOf(chat)}” was archived.` : `“${titleOf(chat)}” is no longer archived.`,
    actionLabel: 'Undo',
    onAction: () => report(() => archive(chat.id, !isArchived)),
  });
}

export const deleteChat = (chat) => removeWithUndo(chat);

// --- pins -------------------------------------------------------------------------------------------

const pinned = () =>
  loadedChats
    .peek()
    .filter((chat) => chat.pin_order)
    .sort((a, b) => a.pin_order - b.pin_order);

/** A chat is pinned below the others. */
function togglePin(chat) {
  const last = pinned().at(-1)?.pin_order ?? 0;
  return report(() => setPin(chat.id, chat.pin_order ? 0 : Math.max(0, last) + 1));
}

function pinMoves(chat) {
  const order = pinned();
  const index = order.findIndex((other) => other.id === chat.id);
  const swap = (other) => () =>
    report(() => Promise.all([setPin(chat.id, other.pin_order), setPin(other.id, chat.pin_order)]));
  const moves = [];
  if (index > 0) moves.push({ name: 'up', icon: 'up', label: 'Move up', run: swap(order[index - 1]) });
  if (index >= 0 && index < order.length - 1)
    moves.push({ name: 'down', icon: 'down', label: 'Move down', run: swap(order[index + 1]) });
  return moves;
}
