"""The replay edge: two tapes, two clocks, one order of facts.

The venue holds its tape in venue time; the node sees its tape in local time. Before a row of the node's tape is published, the venue is
advanced as far as it may be without knowing a decision that has not been taken: up to the local time of the next fact, which each
answer it gives brings nearer.

Ties. Venue: market rows, then fills on a bar's path and expiries, then requests, so that a request sees every row with venue time <= its
arrival. Node: a market row, then own-order facts with the same local time, then timers. So an own-order fact with local time t comes
before the first market row with local time > t.
"""

from typing import Any

from twinloop.kernels import codes, rows
from twinloop.kernels.arrivals import arrive, send_requests
from twinloop.kernels.bar_path import is_immediate, is_market_like, schedule
from twinloop.kernels.intrinsics import copy_row, out_of_line
from twinloop.kernels.jit import njit
from twinloop.kernels.matching import crosses, end_order, expire_orders, market_row, venue_time
from twinloop.kernels.node import NEVER
from twinloop.kernels.step import step
from twinloop.kernels.timers import next_timer
from twinloop.kernels.venue import BARS, REQUESTS, RESPONSES, TOUCH, fill, remove_resting, trigger_rests

NOTHING = 0
PUBLISHED = 1
NEED_LOCAL = 2
NEED_VENUE = 3


@njit(cache=True)
def _row_time(market: Any, i: int) -> int:
    """When a row of the venue's tape takes effect: its venue time; of a bar, its start. The tape is sorted by it."""
    row = market[i]
    if row["kind"] == rows.BAR:
        return venue_time(row) - int(market[i + 1]["interval_ns"])
    return venue_time(row)


@njit(cache=True)
def _find_paths(venue: Any) -> None:
    """Bars: when the path reaches each of our orders, and the earliest of all."""
    out_of_line()
    venue["path_ns"] = NEVER
    for i in range(venue["instrument_count"]):
        market = venue["instruments"][i]
        if market["mode"] != BARS:
            continue
        slot = market["first"]
        while slot >= 0:
            order = venue["orders"][slot]
            if order["working"] == 1 and (is_market_like(order) or is_immediate(order)):
                bar = market["bar"]
                order["path_ns"] = bar["start_ns"] if bar["start_ns"] >= order["arrived_ns"] else NEVER
                order["path_price"] = bar["open"]
            else:
                schedule(venue, market, order)
            venue["path_ns"] = min(venue["path_ns"], order["path_ns"])
            slot = order["next"]


@njit(cache=True)
def _reached_on_path(venue: Any, market: Any, slot: int) -> None:
    """The path is at an order's price: fill it there; what may neither take nor wait expires; a stop-limit out of reach now rests."""
    out_of_line()
    order = venue["orders"][slot]
    limited = order["type"] == codes.LIMIT or order["type"] == codes.STOP_LIMIT
    takes = order["working"] == 2 or is_market_like(order) or is_immediate(order)
    price = order["path_price"]
    if takes and limited:
        if not crosses(order["side"], order["price"], price, 1):
            if is_immediate(order):
                end_order(venue, slot, order["path_ns"], codes.REASON_IOC)
                return
            if order["working"] == 2:
                trigger_rests(venue, order)
            order["arrived_ns"] = order["path_ns"]
            schedule(venue, market, order)
            return
        if order["flags"] & codes.POST_ONLY:
            end_order(venue, slot, order["path_ns"], codes.REASON_POST_ONLY)
            return
    fill(venue, order, price, order["leaves"], order["path_ns"], not takes, market["bar"]["row"])
    remove_resting(venue, slot)


@njit(cache=True)
def _fill_on_paths(venue: Any, now_ns: int) -> None:
    out_of_line()
    for i in range(venue["instrument_count"]):
        market = venue["instruments"][i]
        if market["mode"] != BARS:
            continue
        slot = market["first"]
        while slot >= 0:
            order = venue["orders"][slot]
            following = order["next"]
            if order["path_ns"] <= now_ns:
                _reached_on_path(venue, market, slot)
            slot = following
    venue["path_ns"] = NEVER
    for i in range(venue["instrument_count"]):
        slot = venue["instruments"][i]["first"]
        while slot >= 0:
            venue["path_ns"] = min(venue["path_ns"], venue["orders"][slot]["path_ns"])
            slot = venue["orders"][slot]["next"]


@njit(cache=True)
def _see_instrument(venue: Any, market: Any, instrument: int) -> None:
    """Take into account the rows a jump passed over: the last quote and print of one instrument among them.

    Found by walking back from where the jump ended, never further than the rows already taken into account.
    """
    out_of_line()
    held = venue["instruments"][instrument]
    jumped = venue["jumped_to"]
    quote = held["seen_quote"] >= jumped or held["mode"] != TOUCH
    trade = held["seen_trade"] >= jumped
    first = venue["first_row"]
    j = jumped - 1
    while j >= first and not (quote and trade):
        row = market[j - first]
        if j < held["seen_quote"]:
            quote = True
        if j < held["seen_trade"]:
            trade = True
        if row["instrument"] == instrument:
            if row["kind"] == rows.QUOTE and not quote:
                held["bid"] = row["bid"]
                held["bid_qty"] = row["bid_qty"]
                held["ask"] = row["ask"]
                held["ask_qty"] = row["ask_qty"]
                quote = True
            elif row["kind"] == rows.TRADE and not trade and row["flags"] & rows.FLAG_OFF_MARKET == 0:
                held["last_price"] = row["price"]
                trade = True
        j -= 1
    held["seen_quote"] = max(held["seen_quote"], jumped)
    held["seen_trade"] = max(held["seen_trade"], jumped)


@njit(cache=True)
def see_all(venue: Any, market: Any) -> None:
    """Before the venue's chunk changes: nothing of it may be needed later."""
    for instrument in range(venue["instrument_count"]):
        if venue["instruments"][instrument]["settle"] >= 0:
            _see_instrument(venue, market, instrument)


@njit(cache=True)
def _jump(venue: Any, market: Any, published: int) -> bool:
    """Quotes and prints only, and nothing resting: go straight to the oldest request's arrival. False: more rows are needed."""
    arrival_ns = venue["request_ns"][venue["request_tail"] & (REQUESTS - 1)]
    i = venue["next_row"]
    if venue["shared_tape"] == 1 and published > i:
        i = published  # Rows the node has seen have local time <= now <= arrival, and venue time <= local time.
    count = market.shape[0]
    while i < count and venue_time(market[i]) <= arrival_ns:
        i += 1
    venue["next_row"] = i
    venue["jumped_to"] = venue["first_row"] + i
    return i < count or venue["more_rows"] == 0


@njit(cache=True)
def _arrive(venue: Any, market: Any) -> None:
    """Take the oldest request, with its instrument's touch up to date."""
    if venue["jump"] == 1:
        _see_instrument(venue, market, int(venue["requests"][venue["request_tail"] & (REQUESTS - 1)]["instrument"]))
    arrive(venue)


@njit(cache=True)
def advance_venue(venue: Any, market: Any, limit_ns: int, published: int) -> bool:
    """Let the venue live up to limit_ns, or to the local time of the first answer it gives, if earlier. False: more rows are needed."""
    out_of_line()
    while True:
        if venue["response_tail"] < venue["response_head"]:
            limit_ns = min(limit_ns, venue["responses"][venue["response_tail"] & (RESPONSES - 1)]["local_ns"])
        request_ns = NEVER
        if venue["request_tail"] < venue["request_head"]:
            request_ns = venue["request_ns"][venue["request_tail"] & (REQUESTS - 1)]
        if venue["jump"] == 1 and venue["resting"] == 0:
            if request_ns > limit_ns or request_ns == NEVER:
                return True
            if not _jump(venue, market, published):
                return False
            venue["now_ns"] = request_ns
            _arrive(venue, market)
            continue
        i = venue["next_row"]
        row_ns = NEVER
        if i < market.shape[0]:
            row_ns = _row_time(market, i)
        elif venue["more_rows"] == 1:
            return False
        order_ns = min(venue["path_ns"], venue["expire_ns"])
        now_ns = min(row_ns, min(order_ns, request_ns))
        if now_ns > limit_ns or now_ns == NEVER:
            return True
        venue["now_ns"] = max(venue["now_ns"], now_ns)
        if row_ns == now_ns:
            row = market[i]
            two = row["flags"] & rows.FLAG_CONTINUES
            market_row(venue, row, market[i + 1] if two else row, venue["first_row"] + i)
            venue["next_row"] = i + (2 if two else 1)
            if venue["path_ns"] == 0:
                _find_paths(venue)
        elif order_ns == now_ns:
            if venue["path_ns"] == now_ns:
                _fill_on_paths(venue, now_ns)
            if venue["expire_ns"] <= now_ns:
                expire_orders(venue, now_ns)
        else:
            _arrive(venue, market)


@njit(cache=True)
def _publish_rows(node: Any, source: Any, at: int, mask: int, count: int) -> None:
    """Copy one fact (count rows) into the inbox and give it its sequence."""
    head = node["inbox_head"]
    for k in range(count):
        row = node["inbox"][(head + k) & node["inbox_mask"]]
        copy_row(row, source[(at + k) & mask])
        row["sequence"] = head + k
    node["inbox_head"] = head + count


@njit(cache=True)
def _publish_timer(node: Any, slot: int) -> None:
    out_of_line()
    timer = node["decision"]["timers"][slot]
    head = node["inbox_head"]
    row = node["inbox"][head & node["inbox_mask"]]
    row["venue_ns"] = 0
    row["local_ns"] = max(timer["due_ns"], node["decision"]["clock"]["now_ns"])
    row["sequence"] = head
    row["kind"] = rows.TIMER
    row["side"] = 0
    row["strategy"] = timer["strategy"]
    row["account"] = 0
    row["source"] = 0
    row["flags"] = 0
    row["instrument"] = 0
    row["due_ns"] = timer["due_ns"]
    row["timer_id"] = timer["id"]
    row["order_id"] = 0
    row["code"] = 0
    node["inbox_head"] = head + 1


@njit(cache=True)
def _publish_next(node: Any, venue: Any, local: Any, market: Any, at: int, more_local: int) -> int:
    """The slow way: answers, timers or resting orders are about. Publishes one fact; the caller moves its own cursor for NOTHING."""
    row_ns = NEVER
    if at < local.shape[0]:
        row_ns = local[at]["local_ns"]
    elif more_local == 1:
        return NEED_LOCAL
    timer_ns = node["decision"]["clock"]["timer_ns"]
    if row_ns == NEVER:
        timer_ns = NEVER  # The data ended: so does the clock.
    if not advance_venue(venue, market, min(row_ns, timer_ns), at):
        return NEED_VENUE
    answer_ns = NEVER
    if venue["response_tail"] < venue["response_head"]:
        answer_ns = venue["responses"][venue["response_tail"] & (RESPONSES - 1)]["local_ns"]
    if row_ns <= answer_ns and row_ns <= timer_ns:
        return NOTHING
    if answer_ns <= timer_ns:
        tail = venue["response_tail"]
        count = 2 if venue["responses"][tail & (RESPONSES - 1)]["flags"] & rows.FLAG_CONTINUES else 1
        _publish_rows(node, venue["responses"], tail, RESPONSES - 1, count)
        venue["response_tail"] = tail + count
        if tail + count == venue["response_head"]:
            venue["response_tail"] = 0
            venue["response_head"] = 0
    else:
        _publish_timer(node, next_timer(node["decision"]))
    return PUBLISHED


@njit(cache=True)
def _publish_tail(node: Any, local: Any, at: int) -> None:
    """The second row of a fact goes right behind the first, and one cursor move publishes both."""
    out_of_line()
    head = node["inbox_head"]
    tail = node["inbox"][(head + 1) & node["inbox_mask"]]
    copy_row(tail, local[at])
    tail["sequence"] = head + 1
    node["inbox_head"] = head + 2


@njit(cache=True, forceinline=True)
def _live_until(venue: Any, market: Any, limit_ns: int) -> bool:
    """Let the venue live up to limit_ns as long as only its market moves. False: something else is due, advance_venue goes on from here.

    The rows of a market concern our orders seldom, so this is most of what a venue with resting orders does.
    """
    if venue["expire_ns"] <= limit_ns or venue["path_ns"] != NEVER:
        return False
    i = venue["next_row"]
    count = market.shape[0]
    while i < count:
        row = market[i]
        if row["flags"] & rows.FLAG_CONTINUES:  # A bar, whose time is its start, or another fact of two rows.
            venue["next_row"] = i
            return False
        now_ns = venue_time(row)
        if now_ns > limit_ns:
            venue["next_row"] = i
            return True
        venue["now_ns"] = now_ns
        market_row(venue, row, row, venue["first_row"] + i)
        i += 1
        if venue["response_head"] != venue["response_tail"]:
            venue["next_row"] = i
            return False
    venue["next_row"] = i
    return bool(venue["more_rows"] == 0)


@njit(cache=True)
def run_replay(
    node: Any, venue: Any, local: Any, market: Any, start: int, more_local: int, rows_max: int
) -> tuple[int, int]:
    """Feed facts to the loop until rows_max are handled or something needs the caller: (RUN_* status, next row of local).

    local: (n,) ROW, what the node sees, by local time. market: (m,) ROW, what the venue holds, by venue time. start: first row of local
    not published yet; more_local: 1 when another chunk follows.
    """
    handled = 0
    at = start
    count = local.shape[0]
    clock = node["decision"]["clock"]
    while handled < rows_max:
        if node["records_full"] != 0:
            return codes.RUN_RECORDS_FULL, at
        # With nothing on its way to or from the venue, the next row of the tape comes next, unless a timer is due or an order fills.
        quiet = venue["request_tail"] == venue["request_head"] and venue["response_tail"] == venue["response_head"]
        calm = (
            quiet
            and at < count
            and local[at]["local_ns"] <= clock["timer_ns"]
            and (venue["resting"] == 0 or _live_until(venue, market, local[at]["local_ns"]))
        )
        if not calm:
            if quiet and venue["resting"] == 0 and at == count and more_local == 0:
                return codes.RUN_DONE, at
            publish = _publish_next(node, venue, local, market, at, more_local)
            if publish == NEED_LOCAL:
                return codes.RUN_LOCAL_CHUNK, at
            if publish == NEED_VENUE:
                return codes.RUN_VENUE_CHUNK, at
            if publish == NOTHING:
                if at == count:
                    return codes.RUN_DONE, at
                calm = True
        if calm:
            head = node["inbox_head"]
            row = node["inbox"][head & node["inbox_mask"]]
            copy_row(row, local[at])
            row["sequence"] = head
            at += 1
            if row["flags"] & rows.FLAG_CONTINUES:
                _publish_tail(node, local, at)
                at += 1
            else:
                node["inbox_head"] = head + 1
        handled += step(node)
        if node["outbox_tail"] < node["outbox_head"]:
            send_requests(node, venue)
        if (node["status"] | venue["status"]) != 0:
            return node["status"] if node["status"] != 0 else venue["status"], at
    return codes.RUN_ROWS_MAX, at
