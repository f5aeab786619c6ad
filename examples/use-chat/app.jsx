// A page with the AI SDK's `useChat` in front of an agent that Antiphon serves. In this folder:
//
//   npm install && npm run build && python3 -m http.server 5173 --bind 127.0.0.1
//   antiphon serve ../tools.py:agent --allow-origin http://127.0.0.1:5173
//
// Then open http://127.0.0.1:5173/#url=…&token=… with the address and the token that `antiphon serve` prints.
import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport, getToolName, isToolUIPart,
         lastAssistantMessageIsCompleteWithApprovalResponses } from "ai";
import { useState } from "react";
import { createRoot } from "react-dom/client";

const given = new URLSearchParams(location.hash.slice(1));
const api = `${given.get("url")}/api/ui/chat`;
const headers = { Authorization: `Bearer ${given.get("token")}` };
const id = given.get("chat") ?? "my first chat"; // any text

function Chat({ messages: stored }) {
  const [draft, setDraft] = useState("");
  const { messages, sendMessage, status, error, regenerate, addToolApprovalResponse } = useChat({
    id,
    messages: stored,
    resume: true, // an answer that is being written, after a reload
    transport: new DefaultChatTransport({ api, headers }),
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
  });
  const isBusy = status === "submitted" || status === "streaming";
  // The hook's `stop` only stops reading; the turn goes on for all who watch. This stops the turn.
  const stop = () => fetch(`${api}/${encodeURIComponent(id)}/stop`, { method: "POST", headers });
  const send = event => {
    event.preventDefault();
    if (draft) sendMessage({ text: draft });
    setDraft("");
  };
  return (
    <>
      {messages.map(message => (
        <article key={message.id} className={message.role}>
          {message.parts.map((part, number) => (
            <Part key={number} part={part} answer={addToolApprovalResponse} />
          ))}
        </article>
      ))}
      {error && <p role="alert">{error.message}</p>}
      <form onSubmit={send}>
        <textarea aria-label="Message" value={draft} onChange={event => setDraft(event.target.value)} />
        <button>Send</button>
        {isBusy ? <button type="button" onClick={stop}>Stop</button>
                : <button type="button" onClick={() => regenerate()}>Again</button>}
      </form>
      <p data-status={status}>{status}</p>
    </>
  );
}

function Part({ part, answer }) {
  if (part.type === "text") return <span>{part.text}</span>;
  if (part.type === "reasoning") return <div className="reasoning">{part.text}</div>;
  if (!isToolUIPart(part)) return null;
  const { state, approval } = part;
  return (
    <div className="tool" data-state={state}>
      {getToolName(part)}({JSON.stringify(part.input)}) {JSON.stringify(part.output) ?? part.errorText}
      {state === "approval-requested" && (
        <>
          <button onClick={() => answer({ id: approval.id, approved: true })}>Allow</button>
          <button onClick={() => answer({ id: approval.id, approved: false })}>Deny</button>
        </>
      )}
    </div>
  );
}

const stored = await fetch(`${api}/${encodeURIComponent(id)}`, { headers }).then(answer => answer.json());
createRoot(document.getElementById("root")).render(<Chat messages={stored.messages} />);
