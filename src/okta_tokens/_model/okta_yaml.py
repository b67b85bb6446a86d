"""Read a client from a YAML file in the form of Okta's SDKs. It needs the extra `yaml`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import yaml

from okta_tokens._auth.files import UnreadableFile, is_open_to_others, read_file, shown_path
from okta_tokens._model.environment import FIELDS, ClientArguments, parse_settings, unknown_name
from okta_tokens._runtime.arguments import text_of

_DEFAULT = Path("~/.okta/okta.yaml")
_SECTIONS = ("okta", "client")
_PREFIX = "okta.client."
_NAMES = {name: f"{_PREFIX}{field}" for name, field in FIELDS.items()}
_TEXTS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "timestamp")}
"""The types whose value is the text as it stands in the file: an id may be all digits."""
_BREAK = "\n"
_NULL = "tag:yaml.org,2002:null"

_WRONG_PATH = "path: must be a string or a pathlib.Path, or None for ~/.okta/okta.yaml"
_NOT_UTF8 = "is not UTF-8; save it as UTF-8"
_NO_YAML = "is not valid YAML: its nesting or an escape sequence is wrong; correct it"
_NO_CLIENT = "has no fields below okta.client; write `okta:`, in it `client:`, in it `orgUrl: …`"
_NO_NAME = "the name of a field must be a text, and << is not read; write each field out"
_NO_TEXT = "is a list, a mapping or a value with a tag; write one text"

Fields = Mapping[str, yaml.Node]


def parse_file(
    path: object, *, allow_http: object = False
) -> tuple[str, ClientArguments | list[str], list[str]]:
    """Return the name of a file, the arguments of its client or what is wrong, and warnings.

    The problems are returned, not raised, because this frame has seen secrets.
    `OktaClient.from_file` documents the fields.

    Args:
        path: The file; `None` for `~/.okta/okta.yaml`.
        allow_http: Whether `http://` is valid for another machine, as the user gave it.
    """
    if type(allow_http) is not bool:
        return "OktaClient.from_file", ["allow_http: must be True or False"], []
    file = _file(path)
    if file is None:
        return "OktaClient.from_file", [_WRONG_PATH], []
    content = read_file(file)
    if isinstance(content, UnreadableFile):
        return "OktaClient.from_file", [f"the client {content.problem}"], []
    shown = shown_path(file)
    fields = _parse(content)
    if isinstance(fields, str):
        return shown, [fields], []
    names = (name for name, node in fields.items() if _is_text(node))
    warnings = [unknown_name(name, FIELDS.values(), _PREFIX) for name in names]
    if is_open_to_others(file):
        warnings.append("other users of this machine may read or change it; run `chmod 600` on it")
    arguments = _arguments(fields, allow_http=allow_http)
    return shown, arguments, [f"{shown}: {each}" for each in warnings if each]


def _file(path: object) -> Path | None:
    if path is None:
        return _DEFAULT
    text = text_of(path)
    if text is not None:
        return Path(text)
    return cast("Path", path) if issubclass(type(path), Path) else None


def _parse(content: bytes) -> Fields | str:
    """Return the fields below `okta.client`, or what is wrong with the file."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return _NOT_UTF8
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        # The error's own text quotes the line, which may hold a secret.
        mark = getattr(error, "problem_mark", None)
        index = getattr(mark, "index", getattr(error, "position", 0))
        return f"{_place(text, index)}: is not valid YAML; correct it"
    except (ArithmeticError, RecursionError, ValueError):
        return _NO_YAML
    for section in _SECTIONS:
        fields = _fields(node, text)
        if isinstance(fields, str):
            return fields
        node = fields.get(section)
    return _fields(node, text)


def _place(text: str, index: int) -> str:
    before = text[:index]
    return f"line {before.count(_BREAK) + 1}, column {index - before.rfind(_BREAK)}"


def _fields(node: yaml.Node | None, text: str) -> Fields | str:
    """Return the fields of a mapping; or that it is none, or that a field is there twice."""
    if not isinstance(node, yaml.MappingNode):
        return _NO_CLIENT
    fields: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = key.value if _is_text(key) else None
        if name is None or name in fields:
            known = name if name in {*_SECTIONS, *FIELDS.values()} else "the field"
            problem = f"{known} is there twice; remove one" if name else _NO_NAME
            return f"{_place(text, key.start_mark.index)}: {problem}"
        fields[name] = value
    return fields


def _arguments(fields: Fields, *, allow_http: bool) -> ClientArguments | list[str]:
    texts = {name: _text(name, fields.get(field)) for name, field in FIELDS.items()}
    problems = [f"{_NAMES[name]}: {_NO_TEXT}" for name, text in texts.items() if text is None]
    if problems:
        return problems
    values = {name: text or "" for name, text in texts.items()}
    return parse_settings(values, _NAMES, allow_http=allow_http)


def _text(name: str, node: yaml.Node | None) -> str | None:
    """Return the text of a field, empty if the field is not set; `None` if it is no text."""
    if node is None or node.tag == _NULL:
        return ""
    if _is_text(node):
        return str(node.value).rstrip(_BREAK)  # a block of text ends with a line break
    if name == "PRIVATEKEY" and isinstance(node, yaml.MappingNode):  # a JWK
        members = {key.value: each.value for key, each in node.value if _is_text(key, each)}
        return json.dumps(members)
    return None


def _is_text(*nodes: yaml.Node) -> bool:
    return all(isinstance(node, yaml.ScalarNode) and node.tag in _TEXTS for node in nodes)
