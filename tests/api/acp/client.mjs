// An editor with the official TypeScript SDK: starts the command of its arguments, does what an editor does, and prints
// what it saw as one JSON object.
import { spawn } from "node:child_process";
import { Readable, Writable } from "node:stream";
import * as acp from "@agentclientprotocol/sdk";

const { agent: remote, client: asked } = acp.methods;
const started = spawn(process.argv[1], process.argv.slice(2), { stdio: ["pipe", "pipe", "inherit"] });
const updates = new Map();
const seen = {};
let answer = () => new Promise(() => {});
let withdrawn = () => {};

const textOf = (id, kind) => (updates.get(id) ?? [])
  .filter(update => update.sessionUpdate === kind).map(update => update.content.text ?? "").join("");
const approve = id => fetch(`${process.env.ANTIPHON_URL}/api/v1/chats/${id}`, { headers: headers() })
  .then(answered => answered.json())
  .then(chat => fetch(`${process.env.ANTIPHON_URL}/api/v1/chats/${id}/approvals`, {
    method: "POST", headers: headers(),
    body: JSON.stringify({ tool_call_id: chat.open_calls[0].tool_call_id, approved: true }),
  }));
const headers = () => ({ authorization: `Bearer ${process.env.ANTIPHON_TOKEN}`, "content-type": "application/json" });

const app = acp.client({ name: "a test" })
  .onNotification(asked.session.update, ({ params }) => {
    updates.set(params.sessionId, [...(updates.get(params.sessionId) ?? []), params.update]);
  })
  .onRequest(asked.session.requestPermission, ({ params, signal }) => {
    signal.addEventListener("abort", () => withdrawn());
    return answer(params);
  })
  .onRequest(asked.elicitation.create, ({ params }) => {
    seen.form = { message: params.message, schema: params.requestedSchema };
    return { action: "accept", content: { answer: "blue" } };
  });

await app.connectWith(acp.ndJsonStream(Writable.toWeb(started.stdin), Readable.toWeb(started.stdout)), async cx => {
  const prompt = (id, text) => cx.request(remote.session.prompt, { sessionId: id, prompt: [{ type: "text", text }] });
  const create = (mcpServers = []) => cx.request(remote.session.new, { cwd: "/node", mcpServers });
  seen.initialized = await cx.request(remote.initialize, {
    protocolVersion: acp.PROTOCOL_VERSION,
    clientCapabilities: { elicitation: { form: {} }, session: { notices: {} } },
  });

  const { sessionId: first } = await create([{ name: "files", command: "/bin/files", args: [], env: [] }]);
  seen.answered = await prompt(first, '/think hm\n/say a\n/call search_files {"word": "x"}\n/tokens 3');
  seen.text = textOf(first, "agent_message_chunk");
  seen.thought = textOf(first, "agent_thought_chunk");
  seen.notices = updates.get(first).filter(update => update.sessionUpdate === "notice");
  seen.statuses = updates.get(first).filter(update => update.toolCallId).map(update => update.status);

  answer = params => ({ outcome: { outcome: "selected", optionId: params.options[0].optionId } });
  const { sessionId: second } = await create();
  seen.permitted = (await prompt(second, "/call pay {}\n/say done")).stopReason;
  seen.paid = updates.get(second).findLast(update => update.toolCallId).rawOutput;
  seen.asked = (await prompt(second, '/call ask_person {"question": "Which?"}\n/say done')).stopReason;

  const isAsked = new Promise(resolve => { answer = () => { resolve(); return new Promise(() => {}); }; });
  const isWithdrawn = new Promise(resolve => { withdrawn = resolve; });
  const waiting = prompt(second, "/call pay {}\n/say done");
  await isAsked;
  await approve(second);
  await isWithdrawn;
  seen.answeredByOther = (await waiting).stopReason;

  const slow = prompt(second, "/rate 50\n/tokens 4000");
  while (!textOf(second, "agent_message_chunk").includes("w3 ")) await new Promise(resolve => setTimeout(resolve, 5));
  await cx.notify(remote.session.cancel, { sessionId: second });
  seen.cancelled = (await slow).stopReason;

  updates.delete(first);
  await cx.request(remote.session.load, { sessionId: first, cwd: "/node", mcpServers: [] });
  seen.replayed = updates.get(first).map(update => update.sessionUpdate);
  seen.failed = await prompt(first, "/fail auth").catch(error => ({ code: error.code, message: error.message }));
  seen.listed = (await cx.request(remote.session.list, { cwd: "/node" })).sessions.map(one => one.title);
  await cx.request(remote.session.delete, { sessionId: second });
  started.stdin.end();
});
seen.exit = await new Promise(resolve => started.on("exit", resolve));
console.log(JSON.stringify(seen));
