// The events of an instance, line by line, newest at the bottom.

import { useLayoutEffect, useMemo, useRef, useState } from '../vendor/preact-hooks.js';
import { WORDS } from '../connection.js';
import { log, logState } from '../instances.js';
import { Icon, html } from './html.js';

const BOTTOM_PX = 24; // maximum distance that counts as at the bottom
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });

/** `titles`: of the instance's chats, by id. */
export function InstanceLog({ titles }) {
  const { lines } = log.value;
  const { scroller, isAway, onScroll, toBottom } = useBottom();
  return html`<section class="instance-log" aria-labelledby="log-title">
    <div class="row">
      <h3 id="log-title">Events</h3>
      <${State} />
    </div>
    <div class="log-frame">
      <div class="log" ref=${scroller} onScroll=${onScroll} tabindex="0" role="log" aria-live="off"
        aria-labelledby="log-title" data-testid="instance-log">
        ${!lines.length && logState.value?.state !== 'ended' && html`<p class="empty">The events of this server appear here.</p>`}
        <ul>${lines.map((line) => html`<${Line} key=${line.key} line=${line} title=${titleOf(line, titles)} />`)}</ul>
      </div>
      ${isAway && html`<button type="button" class="to-bottom" onClick=${toBottom}>
        <${Icon} name="down" /> Latest
      </button>`}
    </div>
  </section>`;
}

function State() {
  const { state, problem } = logState.value ?? { state: 'connecting' };
  return html`<span class="connection" role="status" data-testid="log-state" data-state=${state} title=${problem ?? ''}>
    <span class="dot" aria-hidden="true"></span>${WORDS[state]}
  </span>`;
}

const titleOf = ({ sessionId }, titles) => sessionId && (titles.get(sessionId) ?? sessionId.slice(0, 8));

// Only changed lines are rendered again: of several hundred, one or two change at a time.
const Line = ({ line, title }) =>
  useMemo(
    () => html`<li data-topic=${line.topic}>
    <time datetime=${line.at}>${clockWords(line.at)}</time>
    <span class="topic">${line.topic}${line.count > 1 && html`<span class="times"> ×${line.count}</span>`}</span>
    <span class="title"><bdi>${title}</bdi></span>
    <span class="summary"><bdi>${line.text}</bdi></span>
  </li>`,
    [line, title],
  );

function clockWords(text) {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? '' : CLOCK.format(at);
}

/** Keeps the bottom visible while the reader is at the bottom. */
function useBottom() {
  const scroller = useRef(null);
  const isStuck = useRef(true);
  const [isAway, setAway] = useState(false);
  const toBottom = () => {
    isStuck.current = true;
    setAway(false);
    scroller.current.scrollTop = scroller.current.scrollHeight;
  };
  const onScroll = () => {
    const { scrollHeight, scrollTop, clientHeight } = scroller.current;
    isStuck.current = scrollHeight - scrollTop - clientHeight < BOTTOM_PX;
    setAway(!isStuck.current);
  };
  useLayoutEffect(() => {
    if (isStuck.current) scroller.current.scrollTop = scroller.current.scrollHeight;
  });
  return { scroller, isAway, onScroll, toBottom };
}
