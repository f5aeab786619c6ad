// Drives the AI SDK's own chat: reads one JSON object a line (`{id, op, chat, ...}`), and prints one for each when it
// is done. Chunks are validated by the transport's own schema; what it makes of them is the messages.
import readline from "node:readline";
import { AbstractChat, DefaultChatTransport, lastAssistantMessageIsCompleteWithApprovalResponses,
         lastAssistantMessageIsCompleteWithToolCalls } from "ai";

class State {
  status = "ready";
  error = undefined;
  messages = [];
  pushMessage = message => { this.messages = [...this.messages, message]; };
  popMessage = () => { this.messages = this.messages.slice(0, -1); };
  replaceMessage = (index, message) => {
    this.messages = this.messages.map((old, at) => (at === index ? this.snapshot(message) : old));
  };
  snapshot = thing => structuredClone(thing);
}

class Chat extends AbstractChat {
  constructor({ messages = [], ...init }) {
    const state = new State();
    state.messages = messages;
    super({ ...init, state });
  }
}

const chats = new Map();
const automatic = {
  approvals: lastAssistantMessageIsCompleteWithApprovalResponses,
  tools: lastAssistantMessageIsCompleteWithToolCalls,
};

function open({ chat: name, api, token, body, messages, sendAutomatically }) {
  const seen = { data: [], calls: [], finished: [], requests: [] };
  const chat = new Chat({
    id: name,
    messages,
    transport: new DefaultChatTransport({
      api,
      headers: { authorization: `Bearer ${token}` },
      body,
      fetch: async (url, options) => {
        const answer = await fetch(url, options);
        seen.requests.push({ method: options.method, url, status: answer.status, body: options.body,
                             stream: answer.headers.get("x-vercel-ai-ui-message-stream"),
                             chatId: answer.headers.get("antiphon-chat-id"),
                             ignored: answer.headers.get("antiphon-ignored-messages") });
        return answer;
      },
    }),
    onData: part => seen.data.push(part),
    onToolCall: ({ toolCall }) => { seen.calls.push(toolCall); },
    onFinish: ({ isAbort, isDisconnect, isError, finishReason }) =>
      seen.finished.push({ isAbort, isDisconnect, isError, finishReason }),
    sendAutomaticallyWhen: sendAutomatically && automatic[sendAutomatically],
  });
  chats.set(name, { chat, seen });
}

function texts(chat) {
  return chat.messages.filter(m => m.role === "assistant").flatMap(m => m.parts.filter(p => p.type === "text").map(p => p.text)).join("");
}

async function until(test) {
  const deadline = Date.now() + 20_000;
  while (!test()) {
    if (Date.now() > deadline) throw new Error(`not in time: ${test}`);
    await new Promise(done => setTimeout(done, 5));
  }
}

const operations = {
  open: (_, command) => open(command),
  send: ({ chat }, { message, options }) => chat.sendMessage(message, options),
  sendUntil: async ({ chat, seen }, { message, length }) => {  // the request goes on
    const before = texts(chat).length;
    chat.sendMessage(message).catch(error => seen.finished.push({ error: String(error) }));
    await until(() => texts(chat).length >= before + length || chat.status === "error");
  },
  report: () => {},
  settled: ({ chat }) => until(() => chat.status === "ready" || chat.status === "error"),
  settledAfter: ({ chat, seen }, { requests }) =>
    until(() => seen.requests.length >= requests && (chat.status === "ready" || chat.status === "error")),
  regenerate: ({ chat }, { options }) => chat.regenerate(options),
  resume: ({ chat }) => chat.resumeStream(),
  stop: ({ chat }) => chat.stop(),
  output: ({ chat }, { output }) => chat.addToolOutput(output),
  approve: ({ chat }, { response }) => chat.addToolApprovalResponse(response),
  repeat: async ({ seen }, { number }) => {  // the same request once more, read as text
    const { url, body } = seen.requests.at(number);
    const { token } = seen;
    const answer = await fetch(url, { method: "POST", body, headers: { "content-type": "application/json",
                                                                       authorization: `Bearer ${token}` } });
    seen.repeated = await answer.text();
  },
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  void (async () => {
    let failure = null;
    try {
      await operations[command.op](chats.get(command.chat), command);
    } catch (error) {
      failure = `${error}`;
    }
    const { chat, seen } = chats.get(command.chat);
    if (command.token) seen.token = command.token;
    console.log(JSON.stringify({ id: command.id, failure, status: chat.status, error: chat.error?.message ?? null,
                                 messages: chat.messages, ...seen }));
  })();
}
