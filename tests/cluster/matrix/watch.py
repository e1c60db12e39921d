"""Looks at the status again and again, until the edges are as they should be, and at what they are on the way."""

import collections
import time
from dataclasses import dataclass

from vantage import Agents
from world import Failed

# From one look to the next.
PAUSE = 0.5


@dataclass(frozen=True)
class Wanted:
    """What the status is to say of an edge; `culprit` stands in the finding."""

    state: str
    reason: str
    finding: str
    culprit: str

    def differs(self, row: dict) -> list[str]:
        finding = row["finding"] or {"name": "", "object": "", "message": ""}
        wrong = [f"{key} {got}" for key, want, got in [
            ("state", self.state, row["state"]), ("reason", self.reason, row["reason"]), ("finding", self.finding, finding["name"]),
        ] if want != got]
        if self.culprit not in finding["object"] + finding["message"]:
            wrong.append(f"culprit {finding['object']}: {finding['message']}")
        return wrong


class Watch:
    def __init__(self, agents: Agents):
        self.agents = agents

    def until_ok(self, edges: list[str], seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while wrong := {name: line(row) for name, row in self.agents.rows().items() if name in edges and row["state"] != "ok"}:
            if time.monotonic() > end:
                raise Failed(f"not as they should be within {seconds:.0f} s: {wrong}")
            time.sleep(PAUSE)

    def until_as(self, wanted: dict[str, Wanted], may_suffer: tuple[str, ...] = ()) -> dict[str, float]:
        """Seconds until each edge was as wanted. Others may not be violated meanwhile, but for those that depend on them."""
        begun, found = time.monotonic(), {}
        while True:
            rows = self.agents.rows()
            now = time.monotonic() - begun
            for name, want in wanted.items():
                if not want.differs(rows[name]):
                    found.setdefault(name, now)
            others = [row for name, row in rows.items() if name not in wanted and name not in may_suffer]
            if strange := [line(row) for row in others if row["state"] == "violated"]:
                raise Failed(f"violated beside {', '.join(wanted)}: {strange}")
            # All at the same time: none has left its state again.
            wrong = {name: want.differs(rows[name]) for name, want in wanted.items() if want.differs(rows[name])}
            if not wrong:
                return found
            if now > 75:
                raise Failed("not as wanted within 75 s:\n" + "\n".join(f"  {name}: {told}" for name, told in wrong.items()))
            time.sleep(PAUSE)

    def steady(self, seconds: float, states: tuple[str, ...]) -> str:
        """No edge has another state for so long. Gives how often was looked, and what was seen."""
        end, looks, seen = time.monotonic() + seconds, 0, collections.Counter()
        while time.monotonic() < end:
            rows = self.agents.rows().values()
            if strange := [line(row) for row in rows if row["state"] not in states]:
                raise Failed(f"after {looks} looks: {strange}")
            looks += 1
            seen.update(row["state"] for row in rows)
            time.sleep(PAUSE)
        return f"{looks} looks in {seconds:.0f} s ({', '.join(f'{count} times {state}' for state, count in seen.most_common())})"


def multiple(edge: str) -> int:
    """How many intervals lie between two probes of an edge (docs/agent.md)."""
    if edge in ("mas-to-authelia", "mas-to-smtp"):
        return 20
    return 1 if edge in ("mas-to-postgres", "mas-to-dns-udp", "mas-to-dns-tcp") else 4


def line(row: dict) -> str:
    finding = row["finding"] or {}
    return f"{row['name']} {row['state']} {row['reason']} {finding.get('name', '')} {finding.get('message', '')} {'; '.join(row['told'])}".strip()
