"""Codes and sources of the feed's own rows: why a market is stale, what a book's gap is, why the source of a market changed.

docs/rows.md is written from NAMES; FEED_GAP's first two codes are the decoder's (binance_codes). Nothing in this module does work.
"""

from typing import Final

from twinloop.data.binance_codes import GAP_SNAPSHOT_OLD, GAP_UPDATE_IDS

# Sources.
PRIMARY: Final = 0
BACKUP: Final = 1
POLLED: Final = 2
SOURCE_NAME: Final = {PRIMARY: "primary", BACKUP: "backup", POLLED: "polled"}

# FEED_GAP beside the decoder's.
GAP_LOST: Final = 3
GAP_START: Final = 4
# FEED_STALE.
STALE_SILENT: Final = 1
STALE_LOST: Final = 2
STALE_DISAGREE: Final = 3
STALE_START: Final = 4
STALE_LATE: Final = 5
# FEED_SWITCHED.
SWITCH_SILENT: Final = 1
SWITCH_LOST: Final = 2
SWITCH_LATE: Final = 3
SWITCH_ROTATED: Final = 4
SWITCH_BOOK: Final = 5
SWITCH_POLLED: Final = 6
SWITCH_BACK: Final = 7

NAMES: Final = {
    "FEED_GAP": {
        GAP_UPDATE_IDS: "updates are missing or came in the wrong order",
        GAP_SNAPSHOT_OLD: "a snapshot older than the first update",
        GAP_LOST: "the connection is gone and no other has the book",
        GAP_START: "the session begins: nothing of the market is known",
    },
    "FEED_STALE": {
        STALE_SILENT: "a stream is silent for longer than is usual for it",
        STALE_LOST: "no connection",
        STALE_DISAGREE: "two feeds disagree about the price",
        STALE_START: "the session begins",
        STALE_LATE: "messages come much later than usual, by the venue's own times",
    },
    "FEED_SWITCHED": {
        SWITCH_SILENT: "the feed before was silent",
        SWITCH_LOST: "its connection is gone",
        SWITCH_LATE: "it was later than this one",
        SWITCH_ROTATED: "a new connection replaced it before the venue cut it",
        SWITCH_BOOK: "its book broke",
        SWITCH_POLLED: "nothing streams: prices are asked for, and the market stays stale",
        SWITCH_BACK: "something streams again",
    },
}
