"""One measured number of the project, and the bar it must reach."""

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Figure:
    """A value with its unit; `better` is the good direction, `bar` what it must reach (None = no bar), `note` how it was measured."""

    name: str
    value: float
    unit: str
    better: Literal["lower", "higher"]
    bar: float | None
    note: str

    def reaches_bar(self) -> bool:
        """True where there is no bar, or the value is on its good side."""
        if self.bar is None:
            return True
        return self.value <= self.bar if self.better == "lower" else self.value >= self.bar

    def bar_text(self) -> str:
        """The bar as in the design's table of figures, e.g. `<= 0.5`; empty without one."""
        if self.bar is None:
            return ""
        return f"{'<=' if self.better == 'lower' else '>='} {self.bar:g}"

    def verdict(self) -> str:
        """`ok`, `MISSED`, or empty without a bar."""
        if self.bar is None:
            return ""
        return "ok" if self.reaches_bar() else "MISSED"

    def to_json(self) -> dict[str, Any]:
        """The entry of `bench.json`."""
        return asdict(self)
