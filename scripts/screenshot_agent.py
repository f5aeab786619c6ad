"""The agent in the screenshots: tools, an approval, a question, and answers with code, a table, mathematics and a
diagram, at a pace one can see."""

import asyncio
from collections.abc import AsyncIterator

from antiphon import Reasoning, ToolCall, Turn, tool
from antiphon.core.parts import text_of

PACE_S = 0.02

REPORT = """The query scans every order. An index on the two columns that it filters by makes it a lookup:

```sql
CREATE INDEX orders_by_customer ON orders (customer_id, created_at DESC);
```

| query | before | after |
|---|---:|---:|
| newest orders of a customer | 412 ms | 1.8 ms |
| orders of a day | 388 ms | 388 ms |

The cost falls from $O(n)$ to $O(\\log n + k)$ for $k$ orders of the customer. The second query needs an index of \
its own.
"""

PLAN = """Here is the order of the steps:

```mermaid
flowchart LR
  A[Run the tests] --> B{Green?}
  B -- yes --> C[Deploy to staging]
  B -- no --> D[Inform the team]
  C --> E[Ask for approval] --> F[Deploy]
```

1. The tests run on every branch.
2. Staging gets what is green.
3. **A person approves** what reaches production.
"""


@tool
def explain_query(sql: str) -> dict[str, object]:
    """Show the plan of a query."""
    return {"plan": "Seq Scan on orders", "rows": 1_204_377, "cost_ms": 412}


@tool
def read_schema(table: str) -> str:
    """Read the columns and indexes of a table."""
    return "orders(id, customer_id, created_at, total), primary key (id)"


@tool(needs_approval=True)
def deploy(service: str, version: str) -> str:
    """Deploy a version to production."""
    return f"{service} {version} is deployed"


TOOLS = (explain_query, read_schema, deploy)


async def agent(turn: Turn) -> AsyncIterator[str | Reasoning]:
    await turn.use_tools(*TOOLS)
    said = text_of(turn.messages[-1].content).lower()
    if "slow" in said:
        yield Reasoning("The plan will show whether an index is used. Then I need to know which indexes exist.")
        await asyncio.sleep(1.2)
        await turn.call(
            ToolCall("explain_query", {"sql": "SELECT * FROM orders WHERE customer_id = 7"}),
            ToolCall("read_schema", {"table": "orders"}),
        )
        text = REPORT
    elif "steps" in said:
        text = PLAN
    elif "deploy" in said:
        yield "Version 2.4.1 passed its tests. I will deploy it now."
        await turn.call(ToolCall("deploy", {"service": "checkout", "version": "2.4.1"}))
        text = "Done: `checkout` runs version 2.4.1."
    elif "release" in said:
        schema = {"type": "string", "enum": ["today", "tomorrow", "next week"]}
        when = await turn.ask("When should the release go out?", schema)
        text = f"Then it goes out {when}."
    else:
        text = "Ask me about a slow query, the steps of a deployment, or a release."
    for word in text.split(" "):
        yield word + " "
        await asyncio.sleep(PACE_S)
    turn.add_usage(input_tokens=1_830, output_tokens=len(text) // 4)
