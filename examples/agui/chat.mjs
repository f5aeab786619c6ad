// A chat in the terminal over AG-UI.
//
//   npm install @ag-ui/client
//   antiphon serve                    # prints ANTIPHON_URL and ANTIPHON_TOKEN as export lines
//   node chat.mjs "any text"          # the name of the thread
//
// Type a message, or /stop while an answer is written, or /quit. Leaving stops nothing: the answer goes on, and the
// next start shows it. Try `/call add {"a": 1, "b": 2}` with an agent that has tools.
import readline from "node:readline";
import { HttpAgent, runHttpRequest, transformHttpEventStream } from "@ag-ui/client";

const url = `${process.env.ANTIPHON_URL}/agui`;
const headers = { Authorization: `Bearer ${process.env.ANTIPHON_TOKEN}` };

class AntiphonAgent extends HttpAgent {
  get thread() { return `${this.url}/${encodeURIComponent(this.threadId)}`; }

  connect() {  // what `connectAgent()` calls: the messages, the state, and the run in progress
    this.abortController = new AbortController();
    const options = { headers: this.headers, signal: this.abortController.signal };
    return transformHttpEventStream(runHttpRequest(() => fetch(this.thread, options)));
  }

  stop() { return fetch(`${this.thread}/stop`, { method: "POST", headers: this.headers }); }
}

const agent = new AntiphonAgent({ url, headers, threadId: process.argv[2] ?? "terminal" });
const write = text => process.stdout.write(text);
agent.subscribe({
  onMessagesSnapshotEvent: ({ event }) => {
    for (const { role, content } of event.messages) if (typeof content === "string") write(`${role}: ${content}\n`);
  },
  onTextMessageContentEvent: ({ event }) => write(event.delta),
  onTextMessageEndEvent: () => write("\n"),
  onToolCallEndEvent: ({ toolCallName, toolCallArgs }) => write(`[${toolCallName} ${JSON.stringify(toolCallArgs)}]\n`),
  onToolCallResultEvent: ({ event }) => write(`= ${event.content}\n`),
  onStateChanged: ({ state }) => write(`state: ${JSON.stringify(state)}\n`),
  onRunErrorEvent: ({ event }) => write(`error: ${event.message}\n`),
});

async function run(start) {
  await start().catch(error => write(`error: ${error.message}\n`));
  ask();
}

let answers = [];
function ask() {
  const interrupt = agent.pendingInterrupts[answers.length];
  if (interrupt) write(`${interrupt.message} (an answer; an empty line cancels) `);
}

function answerTo({ id, reason }, line) {
  if (line === "") return { interruptId: id, status: "cancelled" };
  return { interruptId: id, status: "resolved", payload: reason === "tool_call" ? { approved: /^y/i.test(line) } : line };
}

async function next(line) {
  const open = agent.pendingInterrupts;
  if (open.length === 0) {
    agent.addMessage({ id: crypto.randomUUID(), role: "user", content: line });
    return run(() => agent.runAgent());
  }
  answers.push(answerTo(open[answers.length], line));
  if (answers.length < open.length) return ask();
  const resume = answers;
  answers = [];
  return run(() => agent.runAgent({ resume }));
}

let work = run(() => agent.connectAgent());
const lines = readline.createInterface({ input: process.stdin });
lines.on("line", line => {
  if (line === "/quit") process.exit(0);
  if (line === "/stop") void agent.stop();
  else work = work.then(() => next(line));
});
lines.on("close", () => work.then(() => process.exit(0)));
