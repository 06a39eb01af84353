"""Messages that clients send over a socket: subscriptions of the market streams, and the requests of the WebSocket API."""

from typing import Any, Final

from twinloop.engine.exchange import requests
from twinloop.engine.exchange.connection import STREAMS_MAX, Connection
from twinloop.engine.exchange.gate import Gate
from twinloop.engine.exchange.limits import WEIGHT_PER_MINUTE
from twinloop.engine.exchange.model import Account, VenueError
from twinloop.engine.exchange.signing import check_signed, is_public_key
from twinloop.engine.exchange.streams import Hub

_SESSION: Final = frozenset(
    {
        "session.logon", "session.logout", "session.status", "userDataStream.subscribe", "userDataStream.subscribe.signature",
        "userDataStream.unsubscribe",
    }
)  # fmt: skip


class SessionApi:
    """The WebSocket API of one market for one connection's address."""

    def __init__(self, gate: Gate, hub: Hub, address: str) -> None:
        self._gate, self._hub, self._address = gate, hub, address

    @staticmethod
    def on_stream_message(hub: Hub, connection: Connection, document: dict[str, Any]) -> dict[str, Any]:
        """SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS."""
        method, parameters, number = document.get("method"), document.get("params") or [], document.get("id")
        named = {str(each) for each in parameters} if isinstance(parameters, list) else set()
        if method == "SUBSCRIBE":
            if len(connection.streams | named) > STREAMS_MAX:
                return {"error": {"code": 2, "msg": f"Invalid request: more than {STREAMS_MAX} streams"}, "id": number}
            hub.subscribe(connection, named)
        elif method == "UNSUBSCRIBE":
            hub.unsubscribe(connection, named)
        elif method == "LIST_SUBSCRIPTIONS":
            return {"result": sorted(connection.streams), "id": number}
        else:
            return {"error": {"code": 2, "msg": f"Invalid request: unknown variant `{method}`"}, "id": number}
        return {"result": None, "id": number}

    def on_call(self, connection: Connection, document: dict[str, Any]) -> dict[str, Any] | None:
        """A request of the WebSocket API: its answer, None where none ever comes."""
        number, method = document.get("id"), str(document.get("method"))
        given = document.get("params") or {}
        if not isinstance(given, dict):
            return {"id": number, "status": 400, "error": {"code": -1100, "msg": "params must be an object"}}
        parameters = {str(name): _plain(value) for name, value in given.items()}
        payload = "&".join(f"{name}={parameters[name]}" for name in sorted(parameters) if name != "signature")
        if method in _SESSION:
            try:
                return {
                    "id": number,
                    "status": 200,
                    "result": self._on_session(method, connection, parameters, payload),
                }
            except VenueError as error:
                return {"id": number, "status": error.status, "error": {"code": error.code, "msg": error.message}}
        return self._carry_out(number, method, connection, parameters, payload)

    def _carry_out(
        self, number: Any, method: str, connection: Connection, parameters: dict[str, str], payload: str
    ) -> dict[str, Any] | None:
        spot = self._gate.market == "spot"
        path = (requests.SPOT_CALLS if spot else requests.USDM_CALLS).get(method)
        if path is None:
            return {"id": number, "status": 400, "error": {"code": -1121, "msg": f"Unknown method: {method}"}}
        call = (requests.SPOT if spot else requests.USDM)[path]
        raw = "&".join(f"{name}={value}" for name, value in parameters.items())
        session = connection.session if "apiKey" not in parameters else None
        reply = self._gate.carry_out(
            call, raw, payload, parameters.get("apiKey"), self._address, session=session
        )  # fmt: skip
        if reply is None:
            return None
        if reply.page is not None:  # A gateway in between: what it sends is no answer to this request.
            return {"id": None, "status": reply.status, "error": {"code": 0, "msg": reply.page}}
        used = reply.headers.get("X-MBX-USED-WEIGHT-1M", "0")
        limits = [
            {
                "rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": WEIGHT_PER_MINUTE[self._gate.market],
                "count": int(used),
            }
        ]  # fmt: skip
        told: dict[str, Any] = {"result": reply.body} if reply.status == 200 else {"error": dict(reply.body)}
        if "Retry-After" in reply.headers:
            now_ms = self._gate.exchange.now_ms
            told["error"]["data"] = {
                "serverTime": now_ms,
                "retryAfter": now_ms + 1000 * int(reply.headers["Retry-After"]),
            }
        return {"id": number, "status": reply.status, **told, "rateLimits": limits}

    def _on_session(self, method: str, connection: Connection, parameters: dict[str, str], payload: str) -> Any:
        """Calls about the connection itself. VenueError when refused."""
        exchange = self._gate.exchange
        if method == "session.status":
            return self._status(connection)
        if method == "session.logout":
            connection.session = None
            return self._status(connection)
        if method == "userDataStream.unsubscribe":
            number = parameters.get("subscriptionId", "")
            for each in [int(number)] if number.isdigit() else [*connection.accounts]:
                connection.accounts.pop(each, None)
            return {}
        if method == "userDataStream.subscribe":
            if connection.session is None:
                raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
            return self._subscribe(connection, connection.session)
        account = check_signed(exchange.accounts, parameters.get("apiKey"), payload, parameters, exchange.now_ms)
        if method == "session.logon":
            if not is_public_key(account.secret):
                raise VenueError(-4056, "HMAC_SHA256 API key is not supported.")
            connection.session = account
            return self._status(connection)
        return self._subscribe(connection, account)

    def _status(self, connection: Connection) -> dict[str, Any]:
        session, now_ms = connection.session, self._gate.exchange.now_ms
        return {
            "apiKey": session.key if session else None, "authorizedSince": now_ms if session else None, "connectedSince": connection.opened_ms,
            "returnRateLimits": True, "serverTime": now_ms, "userDataStream": bool(connection.accounts),
        }  # fmt: skip

    def _subscribe(self, connection: Connection, account: Account) -> dict[str, Any]:
        if self._gate.market != "spot":
            raise VenueError(-1121, "Unknown method: USD-M user events come over /private.")
        number = connection.listen_for(account)
        self._hub.replay(connection, number, account)
        return {"subscriptionId": number}


def _plain(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
