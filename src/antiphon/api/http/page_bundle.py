"""Bundles of the web UI's modules: few requests instead of one for each file, without a build step.

A module becomes a function whose scope is the module's own, and an object with what it exports. A *bundle* has an
entry module and all that it imports statically, in the order in which they run. A module that is imported with
`import(…)` is the entry of a bundle of its own, which uses the modules of the bundles before it. So every module
exists once, as it does without bundles.

The modules are written for this: no circular imports (a test), imports at the beginnings of lines, `export` before
declarations or as a list. Pure.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

FOLDER = "bundles"
"""The folder of the bundles in the address."""

_FROM = r"""['"](\.{1,2}/[^'"]+\.js)['"]"""
_IMPORT = re.compile(
    rf"^[ \t]*import\s*(?:(?P<default>[\w$]+)|\*\s*as\s+(?P<all>[\w$]+)|\{{(?P<names>[^}}]*)\}})\s*from\s*{_FROM};?"
    rf"|(?<=;)import\{{(?P<more>[^}}]*)\}}from{_FROM};?"
    rf"|^[ \t]*import\s*{_FROM};?",
    re.MULTILINE,
)
_LIST = re.compile(rf"(?:^[ \t]*|(?<=[;}}]))export\s*\{{([^}}]*)\}}(?:\s*from\s*{_FROM})?;?", re.MULTILINE)
_DECLARED = re.compile(r"^export (?=(?:async )?(?:function\*?|class|const) ([\w$]+))", re.MULTILINE)
_DEFAULT = re.compile(r"(?:^|(?<=;))export default ", re.MULTILINE)
_COMMENT = re.compile(r"^[ \t]*(?://.*|/\*(?:[^*]|\*(?!/))*\*/[ \t]*)\n", re.MULTILINE)
"""A comment on lines of its own; licences (`/*!`, `@license`) are in the files of `vendor/licences`."""
_DYNAMIC = re.compile(rf"\bimport\(\s*{_FROM}\s*\)")
_LEFT = re.compile(r"^[ \t]*(?:import\b(?!\s*[(.])|export\b).*", re.MULTILINE)


class Module(NamedTuple):
    """A parsed module: its name, the modules that it imports, those that it loads later, and what it exports by what
    name. `code` has neither imports nor exports."""

    name: str
    imports: list[str]
    later: list[str]
    exports: dict[str, str]
    bindings: list[str]
    code: str


def bundles_of(found: Mapping[str, bytes], entry: str) -> dict[str, bytes]:
    """The bundles by their names, which begin with `bundles/`. Raises ValueError for a module that is not written for
    it."""
    return _Bundler(found).run(entry)


def bundle_name(module: str) -> str:
    """The name of the bundle whose entry is `module`."""
    return f"{FOLDER}/{module.replace('/', '-')}"


class _Bundler:
    def __init__(self, found: Mapping[str, bytes]) -> None:
        self._found = found
        self._modules: dict[str, Module] = {}
        self._numbers: dict[str, int] = {}
        self._owner: dict[str, str] = {}
        """The entry of the bundle that each module is in."""

    def run(self, entry: str) -> dict[str, bytes]:
        members: dict[str, list[str]] = {}
        waiting = [entry]
        while waiting:
            name = waiting.pop(0)
            if name in members or name in self._owner:
                continue
            members[name] = []
            self._collect(name, name, members[name], ())
            for member in members[name]:
                waiting += self._modules[member].later
        return {bundle_name(name): self._text(name, names).encode() for name, names in members.items()}

    def _collect(self, name: str, entry: str, members: list[str], above: tuple[str, ...]) -> None:
        """Add a module and what it imports to a bundle, each after those that it imports."""
        if name in above:
            raise ValueError(f"circular imports: {' > '.join((*above, name))}")
        if name in self._owner:
            return
        module = self._modules.get(name) or self._parse(name)
        for imported in module.imports:
            self._collect(imported, entry, members, (*above, name))
        if name not in self._owner:
            self._owner[name] = entry
            self._numbers[name] = len(self._numbers)
            members.append(name)

    def _parse(self, name: str) -> Module:
        if name not in self._found:
            raise ValueError(f"there is no module {name}")
        module = parse_module(name, self._found[name].decode())
        self._modules[name] = module
        return module

    def _text(self, entry: str, members: Sequence[str]) -> str:
        others: dict[str, list[str]] = {}
        for member in members:
            for imported in self._modules[member].imports:
                if self._owner[imported] != entry:
                    others.setdefault(self._owner[imported], []).append(imported)
        lines = [
            f"import {{ {', '.join(sorted({self._variable(name) for name in names}))} }} from {self._address(other)};"
            for other, names in others.items()
        ]
        lines += [self._wrapped(self._modules[member]) for member in members]
        lines.append(f"export {{ {', '.join(self._variable(name) for name in members)} }};\n")
        return "\n".join(lines)

    def _wrapped(self, module: Module) -> str:
        """The module as a function that fills its object. Exports are getters: their values may be set later."""
        bound = [binding.replace("\0", self._variable(name)) for binding, name in _pairs(module)]
        code = _DYNAMIC.sub(lambda found: self._dynamic(module, found[1]), module.code)
        code = code.replace("import.meta.url", f"new URL({json.dumps('../' + module.name)}, import.meta.url).href")
        exports = ", ".join(
            f"get {json.dumps(name)}() {{ return {local}; }}" for name, local in module.exports.items()
        )
        body = "\n".join((*bound, code.strip("\n"), f"return {{ {exports} }};"))
        return f"// {module.name}\nconst {self._variable(module.name)} = (() => {{\n{body}\n}})();"

    def _dynamic(self, module: Module, path: str) -> str:
        name = _resolve(module.name, path)
        if self._owner.get(name) == self._owner[module.name]:
            return f"Promise.resolve({self._variable(name)})"
        owner = self._owner.get(name, name)
        self._numbers.setdefault(name, len(self._numbers))
        return f"import({self._address(owner)}).then((bundle) => bundle.{self._variable(name)})"

    def _variable(self, name: str) -> str:
        return f"$m{self._numbers[name]}"

    def _address(self, entry: str) -> str:
        return json.dumps("./" + bundle_name(entry).removeprefix(f"{FOLDER}/"))


def parse_module(name: str, source: str) -> Module:
    """Raises ValueError for imports or exports in another form than the bundler reads."""
    imports: list[str] = []
    bindings: list[str] = []
    exports: dict[str, str] = {}

    def take_import(found: re.Match[str]) -> str:
        path = found[4] or found[6] or found[7]
        imports.append(_resolve(name, path))
        if found["default"]:
            bindings.append(f"const {found['default']} = \0.default;")
        elif found["all"]:
            bindings.append(f"const {found['all']} = \0;")
        else:
            bindings.append(_binding(found["names"] or found["more"] or ""))
        return ""

    def take_list(found: re.Match[str]) -> str:
        pairs = [_names(item) for item in found[1].split(",") if item.strip()]
        if found[2]:
            imports.append(_resolve(name, found[2]))
            bindings.append("const { " + ", ".join(f"{local}: $r_{local}" for local, _ in pairs) + " } = \0;")
            exports.update({shown: f"$r_{local}" for local, shown in pairs})
        else:
            exports.update({shown: local for local, shown in pairs})
        return ""

    code = _IMPORT.sub(take_import, _COMMENT.sub("", source))
    code = _LIST.sub(take_list, code)
    exports.update({found[1]: found[1] for found in _DECLARED.finditer(code)})
    code = _DECLARED.sub("", code)
    if _DEFAULT.search(code):
        code = _DEFAULT.sub("const $default = ", code, count=1)
        exports["default"] = "$default"
    if left := _LEFT.search(code):
        raise ValueError(f"{name}: {left[0].strip()[:80]!r} is not read; declare and export in the usual form")
    later = [_resolve(name, path) for path in _DYNAMIC.findall(code)]
    return Module(name, imports, later, exports, bindings, code)


def _pairs(module: Module) -> list[tuple[str, str]]:
    return [(binding, name) for binding, name in zip(module.bindings, module.imports, strict=True) if binding]


def _binding(names: str) -> str:
    pairs = [_names(item) for item in names.split(",") if item.strip()]
    shown = ", ".join(local if local == name else f"{name}: {local}" for name, local in pairs)
    return f"const {{ {shown} }} = \0;" if pairs else ""


def _names(item: str) -> tuple[str, str]:
    """The two names in `a as b`, or twice the one in `a`."""
    first, _, second = item.strip().partition(" as ")
    return first.strip(), (second or first).strip()


def _resolve(name: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
