"""Variants that only `./dev test --slow` runs. Of each test named here another variant is always run.

For each file and test: the parameters of its slow variants, or the first ones of them. `tests/shape/
test_slow_variants.py` fails where a name is out of date.
"""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent

SLOW_VARIANTS: dict[str, dict[str, tuple[str, ...]]] = {
    "api/a2a/test_kills.py": {
        "test_a_task_goes_on_after_the_server_was_killed": ("continue",),
    },
    "api/agui/test_kills.py": {
        "test_an_answer_goes_on_after_the_server_was_killed": ("continue",),
    },
    "api/acp/test_kills.py": {
        "test_an_answer_goes_on_after_the_server_was_killed": ("restart",),
    },
    "cli/test_finding.py": {
        "test_closed_or_full_standard_streams_cause_no_traceback": (
            "<&-",
            ">&- 2>&-",
        ),
        "test_every_command_says_how_to_start_an_instance_if_none_is_running": (
            "show last",
            "tail last",
            "interrupt last",
            "queue last",
            "token create --owner x",
            "token revoke x",
        ),
    },
    "core/test_model_scenes.py": {
        "test_the_system_comes_to_rest_from_every_state": (
            "a failure",
            "a crash, a freeze, a stop",
            "a queue",
        ),
        "test_with_every_rule_in_force_no_invariant_breaks": (
            "watch interrupt",
            "same id",
        ),
    },
    "page/test_access.py": {
        "test_names_headings_sizes_and_contrasts_are_right": ("dark",),
    },
    "page/test_axe.py": {
        "test_no_view_violates_a_rule": ("320-light", "768-light", "768-dark", "1920-light", "1920-dark"),
    },
    "page/test_open_calls.py": {
        "test_a_question_is_answered_by_text_or_a_number": ("open-Ada",),
        "test_a_question_with_choices_is_answered_by_a_button": (
            "yes or no-No",
            "which-blue",
        ),
    },
    "page/test_reading.py": {
        "test_a_chat_that_is_left_right_after_its_answer_is_read": ("the inbox",),
    },
    "postgres/test_pgbouncer.py": {
        "test_the_pool_mode_is_detected_while_other_clients_use_the_pooler": (
            "session-2-4",
            "session-4-3",
            "session-8-16",
            "transaction-2-4",
            "transaction-4-3",
            "transaction-8-16",
        ),
        "test_transaction_mode_without_a_direct_address_is_refused_at_once": (
            "2",
            "20",
        ),
    },
    "replicas/test_fleet.py": {
        "test_every_replica_sees_everything_with_faulty_hints": ("hints are lost and reordered",),
    },
    "store/test_difference.py": {
        "test_the_same_history_gives_the_same_results": (
            "3",
            "4",
            "5",
            "6",
            "7",
            "8",
            "9",
            "10",
            "11",
        ),
    },
    "system/test_descriptors.py": {
        "test_an_agent_that_meets_no_free_descriptor_is_tried_again": (
            "bare",
            "in a group",
        ),
        "test_idle_connections_make_room_for_requests": (
            "that began a head",
            "that upgrade",
        ),
    },
    "system/test_hints.py": {
        "test_the_checker_finds_nothing_when": ("every hint is lost",),
    },
    "system/test_hostile_client.py": {
        "test_a_hostile_client_delays_no_other_client_and_turns_can_be_stopped": (
            "short strings in 300 arrays",
            "few values and many brackets in text",
            "unknown parts",
            "long keys",
            "white space",
            "lone surrogates",
            "1,100 idle connections",
            "slow bodies",
            "pipelined garbage",
            "one endless header",
        ),
    },
    "system/test_hostile_provider.py": {
        "test_a_hostile_answer_that_is_not_stopped_ends_as_a_failure": ("think and say",),
        "test_a_hostile_provider_delays_no_other_client_and_can_be_stopped": (
            "endless error body, coded",
            "newlines",
            "one line",
            "think and say",
            "50,000 pieces of one call",
            "headers",
        ),
    },
    "system/test_mcp.py": {
        "test_readiness_is_answered_while_a_server_attacks": (
            "gigabyte",
            "changes without end",
        ),
    },
    "system/test_memory.py": {
        "test_stored_messages_take_no_memory_after_their_turns": ("ascii",),
    },
    "worker/mcp/test_calls.py": {
        "test_a_stopped_turn_cancels_its_call_at_the_server": ("stdio",),
    },
    "worker/test_transport.py": {
        "test_a_body_without_end_is_a_failure_in_bounded_memory": (
            "newlines",
            "lists",
        ),
    },
}

COLLECTED = pytest.StashKey[dict[tuple[str, str], set[str]]]()
"""Of each collected test (its file, its name) the parameters of its variants, slow ones included."""


def slow_variant_of(file: str, test: str, parameters: str) -> str | None:
    """Which of the test's slow variants these parameters are."""
    starts = SLOW_VARIANTS.get(file, {}).get(test, ())
    return next((start for start in starts if parameters == start or parameters.startswith(f"{start}-")), None)


def mark_slow_variants(config: pytest.Config, items: list[pytest.Item]) -> None:
    collected = config.stash.setdefault(COLLECTED, {})
    for item in items:
        file, test = item.path.relative_to(TESTS).as_posix(), getattr(item, "originalname", item.name)
        parameters = item.name.partition("[")[2].removesuffix("]")
        collected.setdefault((file, test), set()).add(parameters)
        if slow_variant_of(file, test, parameters) is not None:
            item.add_marker(pytest.mark.slow)
