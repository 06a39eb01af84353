"""The most that may come of an order, by everything there is: the venue's books and what is on its way there. The slow, obvious twin of a reserve.

A gateway knows less than this at every moment, and must all the same have told the kernel enough that it never reserves less.
"""

from urllib.parse import parse_qsl

from reference.gateway_world import World
from reference.order_venue import OPEN, KernelOrder

from twinloop.engine.gateway import outcome as kinds

WINDOW_NS = 5_000_000_000  # The venue refuses a request that is older.


def legs_of(world: World, number: int) -> list[str]:
    """Client ids under which an order is or was at the venue."""
    ids = world.gateway.ids
    named = [(order.client_id, ids.parse(order.client_id)) for order in world.venue.orders]
    return [client_id for client_id, found in named if found is not None and found.order_id == number]


def may_fill(world: World, number: int) -> int:
    """All that an order has filled at the venue and may fill there yet, whatever becomes of the requests that are on their way."""
    venue = world.venue
    orders = {client_id: venue.find(client_id) for client_id in legs_of(world, number)}
    filled = sum(order.executed for order in orders.values() if order is not None)
    left = {
        client_id: order.qty - order.executed
        for client_id, order in orders.items()
        if order is not None and order.status in OPEN
    }
    under_way = [each for each in world.held if each.order_id == number and world.now_ns - each.sent_ns <= WINDOW_NS]
    for each in under_way:
        asked = dict(parse_qsl(each.text))
        new, old = asked.get("newClientOrderId", ""), asked.get("cancelOrigClientOrderId", "")
        if each.kind == kinds.PLACE and new not in orders:
            left[new] = venue.number(asked["quantity"], venue.qty_scale)
        elif each.kind == kinds.REPLACE and new not in orders and old in left:  # One or the other, never both.
            replaced = orders.get(old)
            if replaced is not None and replaced.executed:
                continue  # ONLY_NEW: the venue leaves it as it is.
            left[old] = max(left[old], venue.number(asked["quantity"], venue.qty_scale))
    for each in under_way:
        asked = dict(parse_qsl(each.text))
        client_id = asked.get("origClientOrderId", "")
        if each.kind == kinds.AMEND and client_id in left:
            at_venue = orders.get(client_id)
            done = at_venue.executed if at_venue is not None else 0
            total = venue.number(asked.get("quantity") or asked["newQty"], venue.qty_scale)
            left[client_id] = max(left[client_id], total - done)
    return filled + sum(left.values())


def kernel_holds(order: KernelOrder) -> int:
    """What the kernel has booked of an order and reserves for it (kernels/orders.py `at_worst`)."""
    if not order.open:
        return order.filled
    asked = order.amend_qty if order.amends else 0
    return max(order.filled, order.qty, asked)
