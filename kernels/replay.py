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
from twinloop.kernels.following import follow_node
from twinloop.kernels.inbox import inbox_slot
from twinloop.kernels.intrinsics import ROW_BYTES, copy_row, out_of_line, prefetch, record_at
from twinloop.kernels.jit import njit
from twinloop.kernels.lending import before_arrival, lend, row_while_lent, take_back
from twinloop.kernels.matching import crosses, end_order, expire_orders, market_row, venue_time
from twinloop.kernels.node import NEVER
from twinloop.kernels.rows import ROW
from twinloop.kernels.step import step
from twinloop.kernels.timers import next_timer
from twinloop.kernels.venue import BARS, REQUESTS, RESPONSES, TOUCH, fill, remove_resting, trigger_rests

ROWS_AHEAD = 40  # How far ahead of its use a tape's row is asked for.
REACHED = 0  # The venue lived up to the time asked for.
AGAIN = 1  # It gave an answer or took a request: what comes next is to be found anew.
SELDOM = 2  # Something is due that advance_venue handles.


@njit(cache=True)
def _row_time(venue: Any, i: int) -> int:
    """When a row of the venue's tape takes effect: its venue time; of a bar, its start. The tape is sorted by it."""
    row = record_at(venue["market_rows"] + ROW_BYTES * i, ROW)
    if row["kind"] == rows.BAR:
        return venue_time(row) - int(record_at(venue["market_rows"] + ROW_BYTES * (i + 1), ROW)["interval_ns"])
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
                if market["status"] == rows.TRADING:
                    _reached_on_path(venue, market, slot)
                else:
                    order["path_ns"] = NEVER  # A bar of a halted market fills nothing.
            slot = following
    venue["path_ns"] = NEVER
    for i in range(venue["instrument_count"]):
        slot = venue["instruments"][i]["first"]
        while slot >= 0:
            venue["path_ns"] = min(venue["path_ns"], venue["orders"][slot]["path_ns"])
            slot = venue["orders"][slot]["next"]


@njit(cache=True)
def _see_instrument(venue: Any, instrument: int) -> None:
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
        row = record_at(venue["market_rows"] + ROW_BYTES * (j - first), ROW)
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
def see_all(venue: Any) -> None:
    """Before the venue's chunk changes: nothing of it may be needed later."""
    for instrument in range(venue["instrument_count"]):
        if venue["instruments"][instrument]["settle"] >= 0:
            _see_instrument(venue, instrument)


@njit(cache=True)
def _jump(venue: Any, published: int) -> bool:
    """Quotes and prints only, and nothing resting: go straight to the oldest request's arrival. False: more rows are needed."""
    arrival_ns = venue["request_ns"][venue["request_tail"] & (REQUESTS - 1)]
    i = venue["next_row"]
    if venue["shared_tape"] == 1 and published > i:
        i = published  # Rows the node has seen have local time <= now <= arrival, and venue time <= local time.
    count = venue["market_count"]
    while i < count and venue_time(record_at(venue["market_rows"] + ROW_BYTES * i, ROW)) <= arrival_ns:
        i += 1
    venue["next_row"] = i
    venue["jumped_to"] = venue["first_row"] + i
    return i < count or venue["more_rows"] == 0


@njit(cache=True)
def _arrive(venue: Any) -> None:
    """Take the oldest request, with its instrument's touch up to date."""
    at = venue["request_tail"] & (REQUESTS - 1)
    venue["now_ns"] = venue["request_ns"][at]
    if venue["jump"] == 1:
        _see_instrument(venue, int(venue["requests"][at]["instrument"]))
    arrive(venue)


@njit(cache=True)
def advance_venue(venue: Any, limit_ns: int, published: int) -> bool:
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
            if not _jump(venue, published):
                return False
            _arrive(venue)
            continue
        i = venue["next_row"]
        row_ns = NEVER
        if i < venue["market_count"]:
            row_ns = _row_time(venue, i)
        elif venue["more_rows"] == 1:
            return False
        order_ns = min(venue["path_ns"], venue["expire_ns"])
        now_ns = min(row_ns, min(order_ns, request_ns))
        if now_ns > limit_ns or now_ns == NEVER:
            return True
        venue["now_ns"] = max(venue["now_ns"], now_ns)
        if row_ns == now_ns:
            _next_row(venue, i)
        elif order_ns == now_ns:
            if venue["path_ns"] == now_ns:
                _fill_on_paths(venue, now_ns)
            if venue["expire_ns"] <= now_ns:
                expire_orders(venue, now_ns)
        else:
            _arrive(venue)


@njit(cache=True)
def _next_row(venue: Any, i: int) -> None:
    """Apply row i of the venue's tape, with its second row if it has one."""
    row = record_at(venue["market_rows"] + ROW_BYTES * i, ROW)
    two = 1 if row["flags"] & rows.FLAG_CONTINUES else 0
    market_row(venue, row, record_at(venue["market_rows"] + ROW_BYTES * (i + two), ROW), venue["first_row"] + i)
    venue["next_row"] = i + 1 + two
    if venue["path_ns"] == 0:
        _find_paths(venue)


@njit(cache=True, forceinline=True)
def _live(node: Any, venue: Any, limit_ns: int, published: int) -> int:
    """Let the venue live up to limit_ns as long as only its market moves and requests arrive: REACHED, AGAIN or SELDOM.

    published: the node's next row. The rows of a market concern our orders seldom, so this is most of what a venue with resting orders does.
    """
    venue["next_ns"] = 0
    bound_ns = limit_ns
    request_ns = NEVER
    if venue["request_tail"] < venue["request_head"]:
        request_ns = venue["request_ns"][venue["request_tail"] & (REQUESTS - 1)]
        bound_ns = min(bound_ns, request_ns)
    if venue["jump"] == 1 and venue["resting"] == 0:
        return SELDOM if request_ns <= limit_ns else REACHED
    if venue["expire_ns"] <= bound_ns or venue["path_ns"] != NEVER:
        return SELDOM
    i = venue["next_row"]
    count = venue["market_count"]
    row_ns = NEVER
    while i < count:
        row = record_at(venue["market_rows"] + ROW_BYTES * i, ROW)
        prefetch(venue["market_rows"] + ROW_BYTES * (i + ROWS_AHEAD))
        if row["flags"] & rows.FLAG_CONTINUES:  # A bar, whose time is its start, or another fact of two rows.
            venue["next_row"] = i
            return SELDOM
        now_ns = venue_time(row)
        if now_ns > bound_ns:
            row_ns = now_ns
            break
        venue["now_ns"] = now_ns
        if venue["lent"] == 1:
            row_while_lent(node, venue, row, published, i)
        else:
            market_row(venue, row, row, venue["first_row"] + i)
        i += 1
        if venue["response_tail"] < venue["response_head"]:
            head_ns = venue["responses"][venue["response_tail"] & (RESPONSES - 1)]["local_ns"]
            if head_ns < limit_ns:
                venue["next_row"] = i
                return AGAIN
    venue["next_row"] = i
    if i == count and venue["more_rows"] == 1:
        return SELDOM
    if request_ns > limit_ns:
        venue["next_ns"] = min(min(row_ns, request_ns), venue["expire_ns"])
        return REACHED
    if venue["lent"] == 1:
        before_arrival(node, venue, published, i)
    _arrive(venue)
    return AGAIN


@njit(cache=True)
def _publish_answer(node: Any, venue: Any) -> None:
    """Move the venue's oldest answer into the inbox, both rows if it has two."""
    at = venue["response_tail"]
    count = 1
    for k in range(2):
        answer = venue["responses"][(at + k) & (RESPONSES - 1)]
        head = node["inbox_head"] + k
        row = node["inbox"][inbox_slot(node, head)]
        copy_row(row, answer)
        row["sequence"] = head
        if k == 0 and not answer["flags"] & rows.FLAG_CONTINUES:
            break
        count = k + 1
    node["inbox_head"] += count
    venue["response_tail"] = at + count
    if at + count == venue["response_head"]:  # Empty rings start again: what is used stays in the first-level cache.
        venue["response_tail"] = 0
        venue["response_head"] = 0


@njit(cache=True)
def _publish_timer(node: Any) -> None:
    """Write the row of the timer that falls due first."""
    timer = node["decision"]["timers"][next_timer(node["decision"])]
    head = node["inbox_head"]
    row = node["inbox"][inbox_slot(node, head)]
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
def _publish_tail(node: Any, tape_row: Any) -> None:
    """The second row of a fact goes right behind the first, and one cursor move publishes both."""
    out_of_line()
    head = node["inbox_head"]
    tail = node["inbox"][inbox_slot(node, head + 1)]
    copy_row(tail, tape_row)
    tail["sequence"] = head + 1
    node["inbox_head"] = head + 2


@njit(cache=True)
def run_replay(node: Any, venue: Any, start: int, more_local: int, rows_max: int) -> tuple[int, int]:
    """Feed facts to the loop until rows_max are handled or something needs the caller: (RUN_* status, next row of the node's tape).

    The tapes stand in the venue's record as an address and a count of ROWs: local_*, what the node sees, by local time; market_*, what
    the venue holds, by venue time. start: first row of the node's not published yet; more_local: 1 when another chunk follows.
    """
    handled = 0
    at = start
    count = venue["local_count"]
    clock = node["decision"]["clock"]
    while handled < rows_max:
        if node["records_full"] != 0:
            return codes.RUN_RECORDS_FULL, at
        row_ns = NEVER
        timer_ns = NEVER
        if at < count:
            row_ns = record_at(venue["local_rows"] + ROW_BYTES * at, ROW)["local_ns"]
            timer_ns = clock["timer_ns"] if venue["recorded"] == 0 else NEVER
        elif more_local == 1:
            if venue["keep_up"] == 1:
                advance_venue(venue, clock["now_ns"], at)
            return codes.RUN_LOCAL_CHUNK, at
        # Past the end of the data only answers come: there the clock of timers stops.
        fact_ns = min(row_ns, timer_ns)
        answer_ns = NEVER
        if venue["response_tail"] < venue["response_head"]:
            answer_ns = venue["responses"][venue["response_tail"] & (RESPONSES - 1)]["local_ns"]
        quiet = venue["resting"] == 0 and venue["request_tail"] == venue["request_head"]
        if not quiet:
            if venue["lends"] == 1:
                if venue["next_row"] <= at and (venue["lent"] == 0 or venue["next_row"] < at):
                    lend(node, venue, at)
            elif (
                (venue["resting"] | venue["gone_count"]) == 0
                and venue["next_row"] + venue["follow_rows"] < at
                and venue["shared_tape"] == 1
            ):
                follow_node(node, venue, at)
            limit_ns = min(fact_ns, answer_ns)
            lived = _live(node, venue, limit_ns, at) if limit_ns >= venue["next_ns"] else REACHED
            if lived == AGAIN:
                continue
            if lived == SELDOM:
                take_back(node, venue, at, venue["next_row"])
                if not advance_venue(venue, fact_ns, at):
                    return codes.RUN_VENUE_CHUNK, at
            if venue["response_tail"] < venue["response_head"]:
                answer_ns = venue["responses"][venue["response_tail"] & (RESPONSES - 1)]["local_ns"]
        from_tape = row_ns <= answer_ns and row_ns <= timer_ns
        if from_tape:
            if row_ns == NEVER:
                return codes.RUN_DONE, at
        elif answer_ns <= timer_ns:
            _publish_answer(node, venue)
        else:
            _publish_timer(node)
        # One fact; with nothing on its way from or to the venue, row after row until a strategy asks for something or an order fills.
        local_rows = venue["local_rows"]
        head = node["inbox_tail"]  # The inbox holds this one fact, or none yet.
        more = from_tape and answer_ns == NEVER and venue["request_tail"] == venue["request_head"]
        last = min(count, at + rows_max - handled) if more else 0  # A row of the tape is a row handled.
        while True:
            row = node["inbox"][inbox_slot(node, head)]
            if from_tape:
                copy = row
                row = record_at(local_rows + ROW_BYTES * at, ROW)
                copy_row(copy, row)
                copy["sequence"] = head
                prefetch(local_rows + ROW_BYTES * (at + ROWS_AHEAD))
                at += 1
                if row["flags"] & rows.FLAG_CONTINUES:
                    _publish_tail(node, record_at(local_rows + ROW_BYTES * at, ROW))
                    at += 1
                else:
                    node["inbox_head"] = head + 1
            done = step(node, head, row)
            head += done
            handled += done
            if node["outbox_tail"] < node["outbox_head"]:
                if venue["remote"] == 0:
                    send_requests(node, venue)
                break
            if at >= last or (node["status"] | node["records_full"]) != 0:
                break
            row_ns = record_at(local_rows + ROW_BYTES * at, ROW)["local_ns"]
            if row_ns > clock["timer_ns"] and venue["recorded"] == 0:
                break
            if not quiet and row_ns >= venue["next_ns"]:
                if _live(node, venue, row_ns, at) != REACHED or venue["response_tail"] < venue["response_head"]:
                    break
        if (node["status"] | venue["status"]) != 0:
            return node["status"] if node["status"] != 0 else venue["status"], at
    return codes.RUN_ROWS_MAX, at
