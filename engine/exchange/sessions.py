"""USD-M's listen keys: whose user stream a connection is, and for how long."""

import secrets
from typing import Final

from twinloop.engine.exchange.model import Account, VenueError

VALID_MS: Final = 60 * 60_000
DAY_MS: Final = 24 * 3600_000  # A connection is cut after a day.


class ListenKeys:
    """Keys by account; each is valid for an hour from when it was made or last kept alive."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[Account, int]] = {}

    def open(self, account: Account, now_ms: int) -> str:
        """The account's key, a new one where it has none; good for another hour either way."""
        for key, (its, _) in self._keys.items():
            if its is account:
                self._keys[key] = (its, now_ms + VALID_MS)
                return key
        key = secrets.token_hex(32)
        self._keys[key] = (account, now_ms + VALID_MS)
        return key

    def keep(self, account: Account, now_ms: int) -> str:
        """Another hour. -1125 where there is no key."""
        if not any(its is account for its, _ in self._keys.values()):
            raise VenueError(-1125, "This listenKey does not exist.")
        return self.open(account, now_ms)

    def close(self, account: Account) -> None:
        """End an account's key. -1125 where there is none."""
        key = next((key for key, (its, _) in self._keys.items() if its is account), None)
        if key is None:
            raise VenueError(-1125, "This listenKey does not exist.")
        del self._keys[key]

    def owner(self, key: str) -> Account | None:
        """Whose key this is, None where it is none."""
        found = self._keys.get(key)
        return found[0] if found is not None else None

    def expired(self, now_ms: int) -> list[tuple[str, Account]]:
        """Keys whose hour is over, taken out."""
        found = [(key, its) for key, (its, until_ms) in self._keys.items() if until_ms <= now_ms]
        for key, _ in found:
            del self._keys[key]
        return found

    def expire_all(self) -> list[tuple[str, Account]]:
        """End every key at once."""
        found = [(key, its) for key, (its, _) in self._keys.items()]
        self._keys.clear()
        return found
