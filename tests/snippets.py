"""The code blocks of Markdown pages, for tests that execute them."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def blocks_of(page: str, language: str) -> list[str]:
    """The fenced blocks of one language of a page of the repository, in order."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [block for found, block in blocks if found == language]
