"""What the venue holds compared with what the journal says, at a start and then again and again; and differences that a person accepts.

A difference counts when several looks found it, each over all that was on its way meanwhile. Where the venue says what the journal said
lately, its answer may lag, which proves nothing: it is asked again, until it says something else or has lagged for too long. Where trades
that the venue has taken back explain a difference, they are reversed (busts.py). Else it halts trading, and is never booked by itself: a
person accepts it by its number. A position then becomes an ADJUSTMENT row, booked for no strategy at the market's price, money a
TRANSFER row; neither makes profit or loss. Why is kept beside the journal. This module must not decide when trading goes on.
"""

import json
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

from twinloop.data.binance_orders import TRADES_MAX
from twinloop.data.binance_reports import AccountReport
from twinloop.data.errors import ConfigError
from twinloop.data.instruments import MONEY_SCALE, from_scaled, to_scaled
from twinloop.data.rowfile import Rows, join_rows
from twinloop.engine.gateway.money_moves import MoneyMove
from twinloop.engine.live import busts
from twinloop.engine.live.busts import Fill, without
from twinloop.engine.live.holdings import Break, Holdings, balance, breaks_of, of_journal, of_venue, tolerances
from twinloop.engine.live.loop import OF_PERSON, SESSION_START
from twinloop.engine.live.orders import OrderEdge
from twinloop.engine.seam import WORLD
from twinloop.kernels import codes
from twinloop.kernels import rows as table
from twinloop.kernels.rows import FLAG_CONTINUES, FLAG_TAIL, ROW

LOOKS: Final = 3  # How often a difference is seen before it counts.
APART_S: Final = 0.5
LATE_APART_S: Final = 2.0  # Between looks at a venue whose answers lag.
LAG_NS: Final = 30_000_000_000  # By how much an answer about the account may lag: 20 s and more were seen.
ASK_AGAIN_S: Final = 20.0  # An account that was not told.
MISSES: Final = 2  # Questions about the account without an answer before it is told.
TICK_S: Final = 0.05
REASONS: Final = "reconciliations.jsonl"
REASON_MAX: Final = 500


class Reconciler:
    """Of one session with real orders. say: lines for a person."""

    def __init__(
        self, orders: OrderEdge, place: Path, every_ns: int, say: Callable[[str], None], cash_tolerance: int = 0
    ) -> None:
        self.breaks: list[Break] = []
        self.looked_ns = 0  # When the last look that is done began; local time.
        self._orders = orders
        self._loop = orders.loop
        self._place = place
        self._every_ns = every_ns
        self._cash_tolerance = cash_tolerance
        self._say = say
        self._wanted = self._moved = False
        # When a look that agreed with a name began, local time; at first how far the journal came.
        self._agreed_ns: dict[str, int] = {}
        self._since_ns = int(orders.loop.node.decision["clock"]["now_ns"])
        # What the journal said over the last LAG_NS, each with since when (monotonic ns).
        self._past: deque[tuple[int, Holdings]] = deque()
        self._visited: list[Holdings] | None = None  # The same from a look's question on.
        self._said = b""  # What it was made of last.
        orders.after_facts = self.note
        orders.after_money = self._money_moved
        self._seen: tuple[Holdings, list[Holdings]] = (
            {},
            [],
        )  # Of the last look: the venue's word, and what the journal said meanwhile.

    async def look(self) -> None:
        """Compare. What differed in every look is in `breaks` then."""
        began_ns, found = self._loop.clock.local_ns(), await self._seen_often()
        if found and await self._take_back(found):
            found = await self._seen_often()
        self.breaks, self.looked_ns = await self._outwaited(found), began_ns
        differing = {each.name for each in self.breaks}
        self._agreed_ns |= dict.fromkeys(self._seen[0].keys() - differing, began_ns)

    async def _seen_often(self) -> list[Break]:
        found: list[Break] = []
        for _ in range(LOOKS):
            found = await self._differing()
            if not found:
                break
        return found

    async def _outwaited(self, found: list[Break]) -> list[Break]:
        """What still differs once answers have stopped to lag, or have lagged for longer than they may.

        Of a wallet that alone differs the same holds: funding is taken from it before the list of income says so.
        """
        began_ns = self._orders.times()[1]
        told = set()
        if self._may_be_funding(found):
            await self._ask_income(found)
        while found and self._orders.times()[1] - began_ns < LAG_NS:
            if self._may_lag():
                line = "! the venue says what it held some time ago: no proof of anything, it is asked again"
            elif self._may_be_funding(found):
                line = "! the wallet differs: funding may be listed later than it is paid, the venue is asked again"
            else:
                break
            if line not in told:
                self._say(line)
            told.add(line)
            await WORLD.sleep(LATE_APART_S)
            found = await self._differing()
        return found

    def _may_lag(self) -> bool:
        """Whether the venue's last answer is what the journal said lately."""
        theirs, _ = self._seen
        return not breaks_of(self._loop.node, theirs, [said for _, said in self._past], self._cash_tolerance)

    def _may_be_funding(self, found: list[Break]) -> bool:
        """Whether all that differs is margin, and nothing that the venue told of explains it."""
        margin = {each.settle for each in self._loop.node.session.instruments if each.contract != "spot"}
        return bool(found) and all(each.name in margin and not self.explanation(each)[1] for each in found)

    async def _ask_income(self, found: list[Break]) -> None:
        """Have what came and left while nobody listened among the moves, if the venue says so in time."""
        orders = self._orders
        since_ns = min(self._agreed_ns.get(each.name, self._since_ns) for each in found)
        orders.take(orders.gateway.ask_income(since_ns, *orders.times()))
        waited_s = 0.0
        while not orders.gateway.money_moves.told and waited_s < ASK_AGAIN_S:
            await WORLD.sleep(TICK_S)
            waited_s += TICK_S

    def explanation(self, found: Break) -> tuple[list[MoneyMove], bool]:
        """What the venue told of an asset's moves since it agreed last, and whether that explains a difference wholly."""
        since_ns = self._agreed_ns.get(found.name, self._since_ns)
        moves = [
            each
            for each in self._orders.gateway.money_moves.kept
            if each.asset == found.name and each.told_ns >= since_ns
        ]
        moved = Decimal(sum(each.amount for each in moves)).scaleb(-MONEY_SCALE)
        said = {ours.get(found.name, Decimal(0)) for ours in (*self._seen[1], {found.name: found.ours})}
        room = tolerances(self._loop.node, self._cash_tolerance).get(found.name, Decimal(0))
        return moves, bool(moves) and any(abs(found.theirs - ours - moved) <= room for ours in said)

    def _money_moved(self) -> None:
        """The venue tells of money that came or left: look as soon as nothing else is open."""
        self._moved = True

    def note(self) -> None:
        """The node has taken facts: what the journal says now."""
        decision = self._loop.node.decision
        made_of = (
            decision["account_holdings"][0]["position"]["qty"].tobytes() + decision["ledgers"][0]["balance"].tobytes()
        )
        if made_of == self._said:
            return
        said, now_ns, self._said = of_journal(self._loop.node), self._orders.times()[1], made_of
        if self._visited is not None:
            self._visited.append(said)
        self._past.append((now_ns, said))
        while len(self._past) > 1 and self._past[1][0] < now_ns - LAG_NS:
            self._past.popleft()

    async def _take_back(self, found: list[Break]) -> bool:
        """Whether trades that the venue lists no more explain the differences, and are reversed now."""
        node, orders = self._loop.node, self._orders
        missing: list[Fill] = []
        for slot in range(len(node.session.instruments)):
            missing += await self._listed_no_more(slot)
        if not missing:
            return False
        theirs, visited = self._seen
        after = [without(node, ours, missing) for ours in visited]
        names = set().union(*(names for _, names in after))
        left = breaks_of(node, theirs, [ours for ours, _ in after], self._cash_tolerance)
        if not names & {each.name for each in found} or names & {each.name for each in left}:
            return False
        orders.take_back(missing)
        return True

    async def _listed_no_more(self, slot: int) -> list[Fill]:
        gateway, booked = self._orders.gateway, self._orders.booked
        first = booked.first_id(slot)
        if not first:
            return []
        listed, waited_s = None, ASK_AGAIN_S
        while listed is None:
            if waited_s >= ASK_AGAIN_S:
                self._orders.take(gateway.ask_trades_again(slot, first, *self._orders.times()))
                waited_s = 0.0
            await WORLD.sleep(TICK_S)
            waited_s += TICK_S
            listed = gateway.listed_again(slot)
        up_to_ns = self._orders.times()[0] - busts.AGE_NS
        return booked.missing(slot, listed, up_to_ns=up_to_ns, full=len(listed) >= TRADES_MAX)

    async def _differing(self) -> list[Break]:
        """One look: what the venue holds, against all that the journal said from the question until every trade before it is booked."""
        node = self._loop.node
        self.note()
        self._visited = visited = [self._past[-1][1]]
        theirs = of_venue(node, await self._account())
        found = breaks_of(node, theirs, visited, self._cash_tolerance)
        if found:
            await self._every_trade_is_booked()
            found = breaks_of(node, theirs, visited, self._cash_tolerance)
        self._seen, self._visited = (theirs, visited), None
        return found

    async def _account(self) -> AccountReport:
        """What the venue holds; asked again for as long as there is no answer. Two that stay out are told: positions only shrink then."""
        gateway, waited_s, asked = self._orders.gateway, ASK_AGAIN_S, 0
        while True:
            if waited_s >= ASK_AGAIN_S:
                if asked == MISSES:
                    self._orders.miss_account()
                self._orders.take(gateway.ask_account(*self._orders.times()))
                waited_s, asked = 0.0, asked + 1
            if gateway.account is not None:
                self._orders.account_missed = False
                return gateway.account
            await WORLD.sleep(TICK_S)
            waited_s += TICK_S

    async def _every_trade_is_booked(self) -> None:
        """Wait until the trades, asked for after an answer about the account, are booked: of a fill a stream may say nothing."""
        gateway, since_ns = self._orders.gateway, self._orders.times()[1]
        await WORLD.sleep(APART_S)
        gateway.sweep()  # Once: what is not answered is asked again by its own schedule.
        while not gateway.swept_since(since_ns):
            await WORLD.sleep(TICK_S)

    async def stop_on_breaks(self) -> None:
        """Look once; halt where anything differs."""
        await self.look()
        if self.breaks:
            for each in self.breaks:
                moves, explains = self.explanation(each)
                told = "; ".join(str(move) for move in moves) or "nothing"
                self._say(f"! {each}; the venue told of: {told}{'' if explains else ', which does not explain it'}")
            self._loop.command("halt", SESSION_START)
            self._say(
                "halted: what the venue holds differs from the journal; see `twinloop reconcile`; nothing was booked"
            )
            self.want()  # Now that nothing trades any more the numbers are exact.

    async def take_stock(self, asset: str, rate: Rows) -> None:
        """What the account holds of an asset that was not compared before counts from here on, once every trade is booked.

        rate: the fact from which on it is compared; with it in one commit.
        """
        currency = int(rate["currency"][0])
        ledgers = self._loop.node.decision["ledgers"][0]
        while True:
            ours = int(ledgers[currency]["balance"])
            held = await self._account()
            await self._every_trade_is_booked()
            if int(ledgers[currency]["balance"]) == ours:
                break  # Else a fee came meanwhile, and the answer may be of before or after it.
        theirs = balance(held, asset)
        moved = self._transfer(currency, theirs - ours, SESSION_START)
        self._loop.take(join_rows([moved, rate]) if theirs != ours else rate)
        self._say(f"{asset}: {from_scaled(theirs, MONEY_SCALE)} on the account, of which fees are paid from here on")

    async def run(self) -> None:
        """Look again and again, and whenever it is asked for."""
        waited_ns = 0
        while True:
            await WORLD.sleep(TICK_S)
            waited_ns += int(TICK_S * 1e9)
            due = self._moved or 0 < self._every_ns <= waited_ns
            if not self._wanted and not (due and self._orders.settled):
                continue
            waited_ns, self._wanted, self._moved = 0, False, False
            if self._loop.trading_state == "HALTED":
                await self.look()
            else:
                await self.stop_on_breaks()

    def want(self) -> None:
        """Have `run` look now."""
        self._wanted = True

    def told(self) -> dict[str, Any]:
        """For the operator's socket."""
        shown = []
        for each in self.breaks:
            moves, explains = self.explanation(each)
            shown.append({
                "id": each.number, "name": each.name, "journal": f"{each.ours:f}", "venue": f"{each.theirs:f}",
                "told": [str(move) for move in moves], "explained": explains,
            })  # fmt: skip
        return {"breaks": shown, "looked_ns": self.looked_ns, "state": self._loop.trading_state}

    def accept(self, number: str, reason: str, user: int) -> int:
        """Book a difference that a person has looked at: the sequence of its row. ConfigError for one that is not there or cannot be."""
        found = next((each for each in self.breaks if each.number == number), None)
        if found is None:
            raise ConfigError(
                "no such difference", field="accept", got=number, remedy="look again: `twinloop reconcile`"
            )
        if not reason.strip() or len(reason) > REASON_MAX:
            raise ConfigError(
                "a reason is needed", field="reason", expected=f"1 to {REASON_MAX} characters", got=str(len(reason))
            )
        if self._loop.trading_state != "HALTED":
            raise ConfigError("a difference is accepted while trading is halted", got=self._loop.trading_state)
        rows = self._adjustment(found, user)
        self._remember(found, reason, user)
        sequence = self._loop.node.sequence
        self._loop.take(rows)
        self.breaks = [each for each in self.breaks if each is not found]
        self.want()
        return sequence

    def _adjustment(self, found: Break, user: int) -> Any:
        """Facts that book it. On spot a position that came without a trade came with the money that it is worth: none was spent."""
        node = self._loop.node
        if found.currency >= 0:
            amount = to_scaled(f"{found.theirs - found.ours:f}", MONEY_SCALE)
            return self._transfer(found.currency, amount, OF_PERSON + user)
        if found.slot < 0:
            raise ConfigError(
                "a symbol that is not in the session cannot be booked",
                field=found.name,
                remedy="close that position at the venue",
            )
        instrument = node.session.instruments[found.slot]
        difference = found.theirs - found.ours
        qty = round(difference.scaleb(instrument.qty_scale))
        price = _price(node.decision["instruments"][found.slot])
        if price <= 0 or qty == 0:
            raise ConfigError(
                "no price to book it at yet", field=found.name, remedy="wait for the market, and accept again"
            )
        settle = node.assembly.currencies.index(instrument.settle)
        rows = np.zeros(2, ROW)
        rows["kind"], rows["local_ns"] = table.ADJUSTMENT, self._loop.clock.local_ns()
        rows["strategy"], rows["instrument"], rows["side"] = codes.UNASSIGNED, found.slot, 1 if qty > 0 else -1
        rows["flags"] = FLAG_CONTINUES, FLAG_TAIL
        rows["price"][0], rows["qty"][0] = price, abs(qty)
        rows["cause_id"][1], rows["fee_currency"][1] = OF_PERSON + user, settle
        if instrument.contract != "spot":
            return rows
        rule = node.decision["instruments"][found.slot]["rule"]
        value = round(Fraction(qty * price * int(rule["multiplier"]), int(rule["divisor"])))  # As money.position_value.
        return join_rows([self._transfer(settle, value, OF_PERSON + user), rows])

    def _transfer(self, currency: int, amount: int, code: int) -> Any:
        row = np.zeros(1, ROW)
        row["kind"], row["local_ns"], row["strategy"] = table.TRANSFER, self._loop.clock.local_ns(), codes.UNASSIGNED
        row["currency"], row["value"], row["code"] = currency, amount, code
        return row

    def _remember(self, found: Break, reason: str, user: int) -> None:
        """Why, beside the journal: its rows hold no text."""
        line = {
            "time_ns": self._loop.clock.local_ns(), "sequence": self._loop.node.sequence, "user": user, "id": found.number,
            "name": found.name, "journal": f"{found.ours:f}", "venue": f"{found.theirs:f}", "reason": reason,
            "told": [str(move) for move in self.explanation(found)[0]],
        }  # fmt: skip
        with (self._place / REASONS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _price(market: Any) -> int:
    """The middle of the touch, else the last price, else the mark; 0 for none."""
    bid, ask = int(market["bid"]), int(market["ask"])
    if 0 < bid <= ask:
        return (bid + ask) // 2
    return int(market["last_price"]) or int(market["mark_price"])
