"""What the same session would have done at the simulated venue, and how far the real one is from that: a running gap.

    shadow.take(commits)                       # the same inbox, as the journal holds it
    gap = shadow.gap(replica.node)             # what really happened, less what the simulation says

A closed-loop replay (docs of the divergence report): market, feed-state and operator rows come from the journal; own-order facts, bars and
timers are made again, by the same kernels with the simulated venue in place of the real one. In a paper session the two are the same, and
every gap is exactly 0. Where the real venue halts the session (an alert's REDUCE or HALT), the shadow is halted by the same row. This module
must not read files.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from twinloop.data.rowfile import join_rows
from twinloop.engine.journal.reader import Commit
from twinloop.engine.live import node_state
from twinloop.engine.live.node import LiveNode
from twinloop.engine.live.rebuild import from_outside
from twinloop.engine.live.session import Session

if TYPE_CHECKING:
    from twinloop.engine.strategy_compiler import CompiledStrategy

PART: str = "shadow-"


class Gap(msgspec.Struct, frozen=True):
    """What the real account has, less what the simulated one has; money in 1e-8 of the account's currency.

    fills_live, fills_shadow: so far. gap_qty: sum over instruments of how far the positions are apart, each in its own scale. gap_slippage:
    of the day, signed, against the mid at each decision; positive: the real fills were worse. gap_profit: of equity since the start.
    """

    fills_live: int
    fills_shadow: int
    gap_qty: int
    gap_slippage: int
    gap_profit: int


class Shadow:
    """The simulated twin of a session. Times: of an order's way to the venue and of the answer's way back."""

    def __init__(
        self, session: Session, compiled: Sequence["CompiledStrategy"], entry_latency_ns: int, response_latency_ns: int
    ) -> None:
        if session.mode != "paper":
            session = msgspec.structs.replace(
                session, mode="paper", entry_latency_ns=entry_latency_ns, response_latency_ns=response_latency_ns,
                limits_section={**session.limits_section, "spot_short_selling": False},  # As real orders are judged.
            )  # fmt: skip
        self.session = session
        self.node = LiveNode(session, "paper", compiled)

    def take(self, commits: Sequence[Commit]) -> None:
        """Live through the facts of commits, which follow those before."""
        if commits and commits[0].number == 0:
            self.node.start()
            commits = commits[1:]
        if commits:
            self.node.handle(from_outside(join_rows([commit.facts for commit in commits])))

    def gap(self, real: LiveNode) -> Gap:
        """Between the real node and this one, both after the same commit."""
        one, other = real.decision["accounts"][0], self.node.decision["accounts"][0]
        count = len(self.session.instruments)
        held, simulated = (
            node.decision["account_holdings"][0]["position"]["qty"][:count] for node in (real, self.node)
        )
        return Gap(
            fills_live=int(real.node["measured"]["fills"]),
            fills_shadow=int(self.node.node["measured"]["fills"]),
            gap_qty=sum(abs(int(a) - int(b)) for a, b in zip(held, simulated, strict=True)),
            gap_slippage=int(one["slippage_day"]) - int(other["slippage_day"]),
            gap_profit=_profit(one) - _profit(other),
        )

    def parts(self) -> dict[str, node_state.Memory]:
        """Its memory, for a snapshot."""
        return {PART + name: memory for name, memory in node_state.parts_of(self.node).items()}

    def words(self) -> dict[str, Any]:
        """What else a snapshot has to keep."""
        return node_state.words_of(self.node) | self._latencies()

    def restore(self, parts: Mapping[str, node_state.Memory], words: Mapping[str, Any]) -> bool:
        """Take over a snapshot's; False where it has none, or one of another simulated venue."""
        own = {name.removeprefix(PART): memory for name, memory in parts.items() if name.startswith(PART)}
        if not own or any(words.get(name) != value for name, value in self._latencies().items()):
            return False
        node_state.restore(self.node, own, words)
        return True

    def _latencies(self) -> dict[str, int]:
        return {"entry_ns": self.session.entry_latency_ns, "response_ns": self.session.response_latency_ns}


def _profit(account: Any) -> int:
    return int(account["equity"]) - int(account["start_equity"])
