"""The protocol's scenes on the real core: all interleavings of a chat, its workers, leases, channel and watcher.

First the scenes with every rule in force: no invariant breaks. Then each rule is removed, in the model of the shells
or by patching the core, and the search must find the invariant that breaks. A rule whose loss no test notices has no
reason, or the search finds too little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from antiphon.core import chat as rules_of_chat
from antiphon.core import commands as c
from antiphon.core import decision, people, transitions, workers
from antiphon.core import evolve as evolving
from antiphon.core import facts as f
from antiphon.core.model import CallState, Status
from antiphon.errors import StaleAttempt

from .tools_world import search_lease, search_tools
from .world import Rules, Scene, search, walk

SCENES: dict[str, Scene] = {
    "watch": Scene(log_max=5, watch=True, drops=1, title=1, freeze=0),
    "watch retry": Scene(log_max=5, watch=True, drops=1, retry=1, crash=0),
    "watch interrupt": Scene(log_max=6, watch=True, interrupt=1),
    "remote interrupt": Scene(
        log_max=8, attempts=1, watch=True, drops=1, interrupt=1, freeze=0, holder_is_local=False
    ),
    "live interrupt": Scene(
        log_max=8,
        attempts=1,
        workers=1,
        watch=True,
        drops=1,
        interrupt=1,
        crash=0,
        freeze=0,
        lease_ends=False,
        title=1,
    ),
    "fence": Scene(tokens=1, log_max=7, attempts=2, edit=1, interrupt=1, release=1, retry=1),
    "answer lost": Scene(tokens=1, unknown=1, tool=1, freeze=0, interrupt=1),
    "queue": Scene(
        tokens=1,
        log_max=10,
        attempts=4,
        sends=(("a", "queue"), ("b", "steer"), ("c", "interrupt")),
        freeze=0,
        workers=1,
    ),
    "same id": Scene(
        tokens=1, log_max=8, attempts=2, sends=(("a", "queue"), ("b", "reject")), unknown=1, freeze=0, interrupt=1
    ),
    "late steering": Scene(tokens=1, attempts=3, sends=(("b", "steer"),), tool=1, freeze=0),
    "two phases": Scene(tokens=1, log_max=8, interrupt=1, edit=1, crash=0, two_phase=True),
    "two interrupts": Scene(
        tokens=1, log_max=13, attempts=3, workers=1, sends=(("a", "interrupt"), ("b", "interrupt")), freeze=0
    ),
    "watch queue": Scene(
        tokens=1, log_max=8, workers=1, sends=(("a", "queue"),), watch=True, crash=0, freeze=0, flush=False
    ),
    "edit and lease": Scene(tokens=1, log_max=8, attempts=2, edit=1, interrupt=1),
    "failure": Scene(tokens=1, log_max=9, attempts=3, workers=1, sends=(("a", "queue"),), final=1, freeze=0),
}
"""The sizes of the design's model where the search is quick, smaller sizes otherwise."""

ALONE = Scene(tokens=1, log_max=14, attempts=4, workers=1, flush=False)
RESTS: dict[str, Scene] = {
    "a crash, a freeze, a stop": Scene(tokens=1, log_max=14, attempts=4, interrupt=1),
    "an edit": ALONE._replace(edit=1),
    "a queue": ALONE._replace(log_max=18, attempts=4, sends=(("a", "queue"), ("b", "steer")), crash=0, freeze=0),
    "a queue and a crash": ALONE._replace(log_max=18, attempts=5, sends=(("a", "interrupt"),), freeze=0),
    "a tool": ALONE._replace(tool=1, interrupt=1, freeze=0),
    "a release and a retry": ALONE._replace(release=1, retry=1, interrupt=1, freeze=0),
    "a lost answer": ALONE._replace(unknown=1, interrupt=1),
    "a failure": ALONE._replace(log_max=16, attempts=5, sends=(("a", "queue"),), final=1, freeze=0),
}
"""The bounds let a chat come to rest before the scene ends."""

LARGE: dict[str, Scene] = {
    "watch": SCENES["watch"]._replace(log_max=8),
    "watch retry": SCENES["watch retry"]._replace(log_max=8),
    "watch interrupt": SCENES["watch interrupt"]._replace(log_max=9, drops=1),
    "fence": SCENES["fence"]._replace(log_max=9, attempts=3),
    "queue": SCENES["queue"]._replace(log_max=12),
    "queue and stop": RESTS["a queue"]._replace(interrupt=1),
    "same id": SCENES["same id"]._replace(log_max=9, attempts=3, unknown=2),
    "edit and lease": SCENES["edit and lease"]._replace(log_max=10, attempts=3),
}

EVERYTHING = Scene(
    tokens=4,
    log_max=60,
    attempts=9,
    workers=2,
    sends=(("a", "queue"), ("b", "steer"), ("c", "interrupt"), ("d", "queue"), ("e", "interrupt")),
    edit=2,
    interrupt=3,
    title=3,
    retry=3,
    final=1,
    tool=2,
    crash=3,
    freeze=3,
    unknown=3,
    drops=6,
    release=2,
    watch=True,
)


@pytest.mark.parametrize("name", SCENES)
def test_with_every_rule_in_force_no_invariant_breaks(name: str) -> None:
    found = search(SCENES[name])
    assert found.bad == "", " ; ".join(found.trace)
    assert found.is_complete
    assert found.states > 500


@pytest.mark.parametrize("name", RESTS)
def test_the_system_comes_to_rest_from_every_state(name: str) -> None:
    found = search(RESTS[name], must_rest=True)
    assert found.bad == "", " ; ".join(found.trace)
    assert found.is_complete


@pytest.mark.parametrize("keep", [False, True])
def test_random_walks_with_everything_at_once_break_nothing(keep: bool) -> None:
    for seed in range(6):
        found = walk(EVERYTHING, seed, 160, Rules(keep=keep))
        assert found.bad == "", f"seed {seed}: " + " ; ".join(found.trace)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_larger_scenes_break_nothing(name: str) -> None:
    found = search(LARGE[name], must_rest=LARGE[name].log_max > 9, limit=2_000_000)
    assert found.bad == "", " ; ".join(found.trace)
    assert found.is_complete


@pytest.mark.slow
@pytest.mark.parametrize("keep", [False, True])
def test_more_random_walks_break_nothing(keep: bool) -> None:
    for seed in range(15, 1500):
        found = walk(EVERYTHING, seed, 220, Rules(keep=keep))
        assert found.bad == "", f"seed {seed}: " + " ; ".join(found.trace)


# --- each rule taken away: the shells ---------------------------------------------------------------


@dataclass
class Without:
    """A scene in which the loss of a rule breaks an invariant, and which one."""

    scene: Scene
    shows: str
    must_rest: bool = False


WITHOUT_RULE: dict[str, Without] = {
    "after_seq": Without(SCENES["two phases"], "LOG"),
    "receipts": Without(SCENES["same id"], "ACK-ONCE"),
    "receipt_first": Without(SCENES["same id"], "ACK-ONCE"),
    "atomic_finish": Without(SCENES["answer lost"], "ANSWERED TWICE"),
    "lease_in_append": Without(RESTS["an edit"], "NO-STUCK", must_rest=True),
    "flush_guard": Without(SCENES["fence"], "NO-LEAK"),
    "cursor_keeps_position": Without(SCENES["watch"], "SEQ"),
    "future_position_waits": Without(SCENES["remote interrupt"], "SEQ"),
    "flush_from_any_position": Without(SCENES["watch"], "SEQ"),
    "drop_stale": Without(SCENES["watch retry"], "SEQ"),
    "facts_first": Without(SCENES["watch"], "SEQ"),
    "no_gap": Without(SCENES["watch"], "SEQ"),
    "no_repeat": Without(SCENES["watch"], "SEQ"),
    "cut_overlaps": Without(SCENES["watch"], "SEQ"),
    "clear_preview": Without(SCENES["watch retry"], "SEQ"),
}


@pytest.mark.parametrize("rule", WITHOUT_RULE)
def test_without_this_rule_of_the_shells_an_invariant_breaks(rule: str) -> None:
    case = WITHOUT_RULE[rule]
    found = search(case.scene, Rules()._replace(**{rule: False}), must_rest=case.must_rest)
    assert found.bad.startswith(case.shows), found
    assert found.trace


# --- each rule taken away: the core -----------------------------------------------------------------

Patch = Callable[[pytest.MonkeyPatch], None]


def no_fence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(workers, "_check_fence", lambda decision, command: None)


def older_is_refused(patch: pytest.MonkeyPatch) -> None:
    """Checks "no newer attempt exists" instead of "holds the chat now"."""

    def check(decision: decision.Decision, command: c.AttemptCommand) -> None:
        if command.attempt < max(decision.chat.attempt, 0):
            raise StaleAttempt(command.attempt)

    patch.setattr(workers, "_check_fence", check)


def draft_is_not_named(patch: pytest.MonkeyPatch) -> None:
    def check(decision: decision.Decision, command: c.AttemptCommand) -> None:
        if command.attempt != decision.chat.attempt:
            raise StaleAttempt(command.attempt)

    patch.setattr(workers, "_check_fence", check)


def commit_while_interrupting(patch: pytest.MonkeyPatch) -> None:
    def commit(decision: decision.Decision, command: c.CommitMessage) -> None:
        if decision.chat.status is not Status.INTERRUPTING:
            workers.commit_message(decision, command)
            return
        workers._check_fence(decision, command)
        workers._append_answer(decision, command)
        if command.is_last:
            decision.end_turn(workers.Outcome.ANSWERED)

    patch.setitem(rules_of_chat._RULES, c.CommitMessage, commit)


def interrupt_names_no_turn(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(rules_of_chat._RULES, c.Interrupt, people._interrupt_turn)


def expiry_waits_for_the_holder_to_stop(patch: pytest.MonkeyPatch) -> None:
    def expire(decision: decision.Decision, command: c.ExpireAttempt) -> None:
        if decision.chat.status is not Status.INTERRUPTING:
            workers.expire_attempt(decision, command)

    patch.setitem(rules_of_chat._RULES, c.ExpireAttempt, expire)


def a_retry_goes_on_in_the_same_draft(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(f, "OPENS_DRAFT", f.OPENS_DRAFT - {f.RetryScheduled})


def a_start_goes_on_in_the_same_draft(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(f, "OPENS_DRAFT", f.OPENS_DRAFT - {f.AttemptStarted, f.AttemptLost})


def the_latest_promoted_goes_first(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(evolving, "_promoted_in", lambda queue, item: (item, *queue))


def the_end_of_a_turn_delivers_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decision.Decision, "deliver_next", lambda self: None)


def the_end_of_a_turn_reads_no_queue(patch: pytest.MonkeyPatch) -> None:
    label = transitions.label

    def blind(chat: Any, fact: f.Fact) -> str:
        name = label(chat, fact)
        return "turn ended, nothing waits" if name == "turn ended, a message follows" else name

    patch.setattr(transitions, "label", blind)


def steering_joins_while_calls_are_open(patch: pytest.MonkeyPatch) -> None:
    def commit(decision: decision.Decision, command: c.CommitMessage) -> None:
        workers.commit_message(decision, command)
        decision.deliver_steering()

    patch.setitem(rules_of_chat._RULES, c.CommitMessage, commit)


IN_CORE: list[tuple[Patch, Scene, str, dict[str, Any]]] = [
    (no_fence, SCENES["fence"], "FENCE", {}),
    (older_is_refused, SCENES["fence"], "FENCE", {}),
    (draft_is_not_named, SCENES["late steering"]._replace(unknown=1), "DUPLICATE", {"unknown_is_queried": False}),
    (commit_while_interrupting, SCENES["answer lost"], "INTERRUPT", {}),
    (interrupt_names_no_turn, SCENES["same id"]._replace(sends=(("a", "queue"),)), "INTERRUPT", {}),
    (expiry_waits_for_the_holder_to_stop, RESTS["a crash, a freeze, a stop"], "NO-STUCK", {}),
    (a_retry_goes_on_in_the_same_draft, SCENES["watch retry"], "VIEW", {}),
    (a_start_goes_on_in_the_same_draft, SCENES["watch"], "VIEW", {}),
    (the_latest_promoted_goes_first, SCENES["two interrupts"], "QUEUE", {}),
    (the_end_of_a_turn_delivers_nothing, SCENES["queue"], "QUEUE", {}),
    (the_end_of_a_turn_reads_no_queue, SCENES["watch queue"], "ASSERT: a waiting chat has an empty queue", {}),
    (steering_joins_while_calls_are_open, SCENES["late steering"], "ASSERT: a user message", {}),
]


@pytest.mark.parametrize(("take_away", "scene", "shows", "rules"), IN_CORE, ids=[one[0].__name__ for one in IN_CORE])
def test_without_this_rule_of_the_core_an_invariant_breaks(
    take_away: Patch, scene: Scene, shows: str, rules: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    take_away(monkeypatch)
    found = search(scene, Rules(**rules), must_rest=shows == "NO-STUCK")
    assert found.bad.startswith(shows), found
    assert found.trace


def test_deciding_again_after_a_lost_answer_is_harmless_if_the_draft_is_named() -> None:
    """The second protection: a second try is refused."""
    assert search(SCENES["answer lost"], Rules(unknown_is_queried=False)).bad == ""


# --- tools ------------------------------------------------------------------------------------------


def test_each_call_has_one_result_and_no_tool_runs_twice() -> None:
    found = search_tools(faults=2)
    assert found.bad == "", " ; ".join(found.trace)
    assert found.states > 300


def test_no_tool_runs_twice_even_with_expired_attempts_that_continue() -> None:
    found = search_tools(faults=2, zombies_stop=False)
    assert found.bad == "", " ; ".join(found.trace)


def an_approved_call_is_not_marked(patch: pytest.MonkeyPatch) -> None:
    """A start forgets that an attempt may have run what was approved."""

    def start(decision: decision.Decision, command: c.StartAttempt) -> None:
        calls = decision.chat.calls
        workers.start_attempt(decision, command)
        kept = tuple(call for call in calls if call.state is CallState.APPROVED)
        left = tuple(call for call in decision.chat.calls if call.tool_call_id not in {k.tool_call_id for k in kept})
        decision._chat = replace(decision.chat, calls=(*left, *kept))

    patch.setitem(rules_of_chat._RULES, c.StartAttempt, start)


def everything_open_is_unknown(patch: pytest.MonkeyPatch) -> None:
    def start(decision: decision.Decision, command: c.StartAttempt) -> None:
        workers.start_attempt(decision, command)
        for call in decision.chat.calls:
            if call.state is CallState.BEGUN:
                decision.resolve_with_error(call, "unknown")

    patch.setitem(rules_of_chat._RULES, c.StartAttempt, start)


def action_before_the_server_s_results(patch: pytest.MonkeyPatch) -> None:
    def require(decision: decision.Decision, command: c.RequireAction) -> None:
        workers._check_fence(decision, command)
        decision.add(f.ActionRequired(calls=command.calls, deadline=command.deadline))

    patch.setitem(rules_of_chat._RULES, c.RequireAction, require)


def results_without_a_fence(patch: pytest.MonkeyPatch) -> None:
    def result(decision: decision.Decision, command: c.CommitToolResult) -> None:
        call = decision.chat.call(command.tool_call_id)
        decision.resolve(call or f.CallOpened(tool_call_id=command.tool_call_id, tool_name="x"), command.content)  # type: ignore[arg-type]

    patch.setitem(rules_of_chat._RULES, c.CommitToolResult, result)


def a_release_opens_what_waits(patch: pytest.MonkeyPatch) -> None:
    def released(chat: Any, fact: f.AttemptReleased, recorded: f.Recorded) -> dict[str, Any]:
        calls = tuple(
            replace(call, state=CallState.OPEN) if call.tool_call_id in fact.calls_not_begun else call
            for call in chat.calls
        )
        return {"attempt": 0, "holder": "", "calls": calls}

    patch.setitem(evolving._CHANGES, f.AttemptReleased, released)


def lost_calls_run_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decision.Decision, "resolve_with_error", lambda self, call, why: None)


TOOL_RULES: list[tuple[Patch, str]] = [
    (everything_open_is_unknown, "TOOLS: an approved call that no attempt was given"),
    (action_before_the_server_s_results, "TOOLS: the attempt ends while its tool runs"),
    (results_without_a_fence, "ASSERT: a tool's message resolves an open call"),
    (a_release_opens_what_waits, "TOOLS: a call that needs approval ran without one"),
    (lost_calls_run_again, "TOOLS: a tool that is not idempotent ran twice"),
]


@pytest.mark.parametrize(("take_away", "shows"), TOOL_RULES, ids=[one[0].__name__ for one in TOOL_RULES])
def test_without_this_rule_of_tools_an_invariant_breaks(
    take_away: Patch, shows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_away(monkeypatch)
    found = search_tools(zombies_stop=False)
    assert found.bad.startswith(shows), found


def test_an_expiry_checks_the_lease_inside_the_append() -> None:
    assert search_lease(checked_in_append=True).bad == ""
    assert search_lease(checked_in_append=False).bad.startswith("LEASE")
