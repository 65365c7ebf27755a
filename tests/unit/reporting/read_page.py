"""A page of the reporting, taken apart."""

import json
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Elements in order, JSON scripts by id, and whether every element is closed where it was opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        identifier = self.elements[-1][1].get("id") if self.elements else None
        if identifier and self.open[-1] == "script":
            self.scripts[identifier] = self.scripts.get(identifier, "") + data

    def json(self, identifier: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.scripts[identifier])
        return value
