"""Numbers of things in words."""


def say_count(number: int, noun: str) -> str:
    """`1 clip`, `2 clips`; for nouns whose plural is an added s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
