// The official client of MCP for Node, which validates results against the output schemas of the tools.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const headers = { Authorization: `Bearer ${process.env.ANTIPHON_TOKEN}` };
const address = new URL(`${process.env.ANTIPHON_URL}/mcp`);
const client = new Client({ name: "test", version: "1" });
await client.connect(new StreamableHTTPClientTransport(address, { requestInit: { headers } }));
const { tools } = await client.listTools();

const reports = [];
const waiting = { name: "start_chat", arguments: { text: "/say a\n/stall 1.5\n/say b", wait_s: 500 } };
const options = { onprogress: (report) => reports.push(report.message), resetTimeoutOnProgress: true, timeout: 1300 };
const done = await client.callTool(waiting, undefined, options);

const leaving = new AbortController();
const begun = client.callTool({ name: "start_chat", arguments: { text: "/stall 60", wait_s: 500 } }, undefined, {
  signal: leaving.signal,
});
setTimeout(() => leaving.abort("enough"), 200);
const aborted = await begun.catch((error) => String(error));

const { resources } = await client.listResources();
const { contents } = await client.readResource({ uri: resources.at(-1).uri });
const refused = await client.callTool({ name: "read_chat", arguments: { chat_id: "x" } });
const unknown = await client.callTool({ name: "nope" }).catch((error) => error.code);
const chats = (await client.callTool({ name: "list_chats", arguments: {} })).structuredContent.chats;
await client.close();

console.log(JSON.stringify({
  tools: tools.length, done: done.structuredContent, reports, aborted, transcript: contents[0].text,
  refused: refused.isError, unknown, statuses: chats.map((chat) => chat.status),
}));
