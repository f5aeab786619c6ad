"""`antiphon serve --config FILE`: what the file may say, what wins over it, and how it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from antiphon import McpServer, open_instance, tool
from antiphon.cli.serve import command, file_keys
from antiphon.errors import Invalid
from antiphon.server import config_file
from antiphon.server.config_file import read_config_file
from antiphon.worker.loading import load_tools


def parsed(tmp_path: Path, text: str, *args: str) -> dict[str, Any]:
    """The parameters of `serve` with this file."""
    file = tmp_path / "antiphon.toml"
    file.write_text(text)
    return command.make_context("serve", ["--config", str(file), *args]).params


def test_every_option_can_be_in_the_file(tmp_path: Path) -> None:
    text = """
[serve]
app = "app.py:agent"
data = "place"
port = 0
title-model = "same"
drain-s = 3
bus-tcp = true
allow-host = ["a", "b"]
limit = {tool_s = 60, calls = 5}
"""
    found = parsed(tmp_path, text)
    assert (found["app"], found["data"], found["port"]) == ("app.py:agent", Path("place"), 0)
    assert (found["title_model"], found["drain_s"], found["bus_tcp"]) == ("same", 3.0, True)
    assert (found["hosts"], found["limits"]) == (("a", "b"), ("tool_s=60", "calls=5"))
    assert file_keys(command).keys() >= {"app", "data", "model", "allow-outbound", "tls-cert"}
    assert not {"config", "json", "help"} & file_keys(command).keys()


def test_prices_and_budgets_are_read_exactly(tmp_path: Path) -> None:
    text = """
[prices]
currency = "EUR"

[prices."openai:gpt-4o-mini"]
input = 0.15
output = 0.6
cached_input = 0.075

[budgets]
tokens_per_day = 1_000_000
cost_per_day = 2.5
"""
    found = parsed(tmp_path, text)["config_file"]
    assert found.prices.currency == "EUR"
    price = found.prices.models["openai:gpt-4o-mini"]
    assert (price.input, price.output, price.cached_input, price.cache_write) == (150_000, 600_000, 75_000, 150_000)
    assert (found.budgets.tokens_per_day, found.budgets.cost_micros_per_day) == (1_000_000, 2_500_000)


def test_the_command_line_wins_over_the_environment_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '[serve]\nport = 1\nbus = "file"\nmodel = "file"\n'
    monkeypatch.setenv("ANTIPHON_BUS", "environment")
    found = parsed(tmp_path, text, "--port", "2")
    assert (found["port"], found["bus"], found["model"]) == (2, "environment", "file")


def test_no_file_is_read_without_being_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "antiphon.toml").write_text("[serve]\nport = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANTIPHON_CONFIG", raising=False)
    found = command.make_context("serve", []).params
    assert (found["config_file"], found["port"]) == (None, None)
    monkeypatch.setenv("ANTIPHON_CONFIG", "antiphon.toml")
    assert command.make_context("serve", []).params["port"] == 1


WRONG = [
    ("x = 1", "x: unknown key; did you mean serve, config, tools, mcp, prices, budgets?"),
    ("[serve]\nprot = 1", "[serve] prot: unknown key; did you mean port?"),
    ("[serve]\nconfig = 'x'", "[serve] config: unknown key"),
    ("[serve]\nport = '8414'", "[serve] port: must be a number"),
    ("[serve]\nport = true", "[serve] port: must be a number"),
    ("[serve]\nport = 99999", "[serve] port: 99999 is not in the range"),
    ("[serve]\nmodel = 1", "[serve] model: must be a string"),
    ("[serve]\nbus-tcp = 1", "[serve] bus-tcp: must be true or false"),
    ("[serve]\nallow-host = 'x'", "[serve] allow-host: must be a list, each a string"),
    ("[serve]\nlimit = {tool_s = 'x'}", "[serve] limit tool_s: a number"),
    ("[serve]\nlimit = {tools_s = 1}", "[serve] limit: unknown limit 'tools_s'"),
    ("[serve", "is not valid TOML"),
    ("serve = 1", "serve: is a table: [serve]"),
    ("tools = 'x'", "tools: is a list of names"),
    ("tools = [1]", "tools: is a list of names"),
    ("mcp.a = 1", "mcp.a: is a table: [mcp.a]"),
    ("[mcp.a]\ncomand = ['x']", "[mcp.a] comand: unknown key; did you mean command?"),
    ("[mcp.a]\ncommand = 'x'", "[mcp.a]: Expected `array`, got `str` - at `$.command`"),
    ("[mcp.a]\nurl = 'https://a/mcp'\ntoken_env = 'sk-secret-1'", "mcp.a.token_env: the name of an environment"),
    ("prices = 1", "prices: is a table: [prices]"),
    ("[prices]\ncurrency = 1", "prices.currency: at most 12 letters or digits"),
    ("[prices.m]\ninput = 1", "prices.m.output: is missing"),
    ("[prices.m]\ninput = 1\noutput = 0.0000001", "prices.m.output: a number from 0 to 1,000,000"),
    ("[budgets]\ntokens = 1", "budgets.tokens: unknown budget; the budgets are tokens_per_day,"),
    ("[budgets]\nturns_per_minute = 0.5", "budgets.turns_per_minute: a whole number above 0"),
    ("config = " + "[" * 65 + "]" * 65, "config: is a table"),
    ("config.a = " + "[" * 65 + "]" * 65, "config: nests at most 64 deep"),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG, ids=[text.replace("\n", " ")[:40] for text, _ in WRONG])
def test_a_mistake_is_refused_with_the_file_and_the_key(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(click.UsageError) as refusal:
        parsed(tmp_path, text)
    assert f"{tmp_path}/antiphon.toml: {sentence}" in refusal.value.message
    assert "sk-secret" not in refusal.value.message


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "antiphon.toml"
    file.write_bytes(b"#" * (config_file.FILE_BYTES_MAX + 1))
    with pytest.raises(Invalid, match="more than"):
        read_config_file(file)


def test_tools_are_loaded_by_name(tmp_path: Path) -> None:
    (tmp_path / "my_tools.py").write_text(
        "from antiphon import tool\n\n@tool\ndef one() -> int:\n    return 1\n\n\ndef two() -> int:\n    return 2\n"
    )
    (tmp_path / "no_tools.py").write_text("")
    file = f"{tmp_path}/my_tools.py"
    assert [item.name for item in load_tools([file])] == ["one"]
    assert [item.__name__ for item in load_tools([f"{file}:two", len])] == ["two", "len"]
    for name, sentence in [
        (f"{file}:three", "has no 'three'"),
        (f"{tmp_path}/none.py", "there is no file"),
        ("no_such_module", "there is no module"),
        (f"{tmp_path}/no_tools.py", "has no tools"),
    ]:
        with pytest.raises(Invalid, match=sentence):
            load_tools([name])


@pytest.mark.anyio
async def test_the_same_settings_are_arguments_of_open_instance(tmp_path: Path) -> None:
    @tool
    def mine() -> int:
        return 1

    (tmp_path / "more.py").write_text("from antiphon import tool\n\n@tool\ndef theirs() -> int:\n    return 2\n")
    mcp = {"x": McpServer(url="http://127.0.0.1:1/mcp")}  # refused before it is called
    async with open_instance(tools=[mine, f"{tmp_path}/more.py"], config={"a": 1}, mcp=mcp) as instance:
        assert instance.options.config == {"a": 1}
        assert [item.name for item in instance.options.tools] == ["mine", "theirs"]
        assert [one.name for one in instance.mcp.states()] == ["x"]
    with pytest.raises(Invalid, match="must be an McpServer, not dict"):
        async with open_instance(mcp={"x": {"command": ["a"]}}):
            pass
