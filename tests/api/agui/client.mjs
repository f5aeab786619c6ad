// Drives AG-UI's own client: reads one JSON object a line (`{id, op, agent, ...}`), and prints one for each when it is
// done. Events pass the client's schemas and its verifier; a run that breaks a rule of the protocol fails.
import readline from "node:readline";
import { HttpAgent, runHttpRequest, transformHttpEventStream } from "@ag-ui/client";

// As in the how-to page: HttpAgent leaves `connect` to the transport.
class Agent extends HttpAgent {
  connectAgent(...options) {
    this.pendingInterrupts = [];  // another client may have answered; what is still open comes again
    return super.connectAgent(...options);
  }
  connect() {
    this.abortController = new AbortController();
    const url = `${this.url}/${encodeURIComponent(this.threadId)}`;
    const options = { headers: this.headers, signal: this.abortController.signal };
    return transformHttpEventStream(runHttpRequest(() => this.fetch(url, options)));
  }
}

const agents = new Map();
console.warn = text => { for (const { seen } of agents.values()) seen.warnings.push(String(text)); };
console.error = () => {};
process.on("unhandledRejection", () => {});  // the client's own, where a connection breaks: the run has failed by then

function open({ agent: name, url, token, threadId, messages, state }) {
  const seen = { events: [], requests: [], errors: [], warnings: [] };
  const agent = new Agent({
    url,
    threadId,
    headers: { authorization: `Bearer ${token}` },
    initialMessages: messages,
    initialState: state,
    fetch: async (address, options) => {
      const answer = await fetch(address, options);
      seen.requests.push({ url: address, status: answer.status, body: options.body ?? null,
                           chatId: answer.headers.get("antiphon-chat-id"),
                           ignored: answer.headers.get("antiphon-ignored") });
      return answer;
    },
  });
  agent.subscribe({ onEvent: ({ event }) => { seen.events.push(event); } });
  agents.set(name, { agent, seen, token });
}

function text(agent) {
  const { content } = agent.messages.filter(m => m.role === "assistant").at(-1) ?? {};
  return content ?? "";
}

async function until(test) {
  const deadline = Date.now() + 20_000;
  while (!test()) {
    if (Date.now() > deadline) throw new Error(`not in time: ${test}`);
    await new Promise(done => setTimeout(done, 5));
  }
}

function say(agent, message) {
  if (message !== undefined) agent.addMessage({ id: message.id ?? crypto.randomUUID(), role: "user", content: message.content });
}

const operations = {
  open: (_, command) => open(command),
  run: async ({ agent }, { message, options }) => {
    say(agent, message);
    await agent.runAgent(options);
  },
  runUntil: async ({ agent, seen }, { message, options, length }) => {  // the run goes on
    say(agent, message);
    seen.running = agent.runAgent(options).catch(error => { seen.errors.push(String(error)); });
    await until(() => text(agent).length >= length || seen.errors.length > 0);
  },
  report: () => {},
  settled: async ({ seen }) => { await seen.running; },
  connect: ({ agent }) => agent.connectAgent(),
  abort: async ({ agent, seen }) => { agent.abortRun(); await seen.running; },
  drop: ({ agent }, { role }) => {  // all behind the last message of the role
    agent.setMessages(agent.messages.slice(0, agent.messages.findLastIndex(m => m.role === role) + 1));
  },
  add: ({ agent }, { message }) => { agent.addMessage(message); },
  repeat: async ({ seen, token }, { number }) => {  // the same request once more, read as text
    const { url, body } = seen.requests.at(number);
    const answer = await fetch(url, { method: "POST", body, headers: { "content-type": "application/json",
                                                                       authorization: `Bearer ${token}` } });
    seen.repeated = await answer.text();
  },
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  void (async () => {
    let failure = null;
    const before = agents.get(command.agent)?.seen.events.length ?? 0;
    try {
      await operations[command.op](agents.get(command.agent), command);
    } catch (error) {
      failure = `${error}`;
    }
    const { agent, seen: { events, running, ...seen } } = agents.get(command.agent);
    console.log(JSON.stringify({ id: command.id, failure, messages: agent.messages, state: agent.state ?? null,
                                 interrupts: agent.pendingInterrupts, events: events.slice(before), ...seen }));
  })();
}
