# Written by data/generate_row_header.py from kernels/rows.py; do not edit.
from libc.stdint cimport int8_t, int64_t, uint8_t, uint16_t

cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    #ifdef _MSC_VER
    #define _Static_assert static_assert
    #endif
    typedef struct {
        int64_t venue_ns;
        int64_t local_ns;
        int64_t sequence;
        uint8_t kind;
        int8_t side;
        uint8_t strategy;
        uint8_t account;
        uint8_t source;
        uint8_t flags;
        uint16_t instrument;
        union { int64_t price; int64_t bid; int64_t open; int64_t volume; int64_t status; int64_t currency; int64_t tick_size; int64_t min_notional; int64_t cause_id; int64_t external_buy; int64_t due_ns; int64_t limit; int64_t rows; int64_t egress_ns; int64_t offset_ns; int64_t decision_hash; int64_t file; int64_t alert; };
        union { int64_t qty; int64_t bid_qty; int64_t high; int64_t notional; int64_t rate; int64_t index_price; int64_t lot_size; int64_t fee_currency; int64_t external_sell; int64_t value; int64_t timer_id; int64_t checksum; int64_t request; int64_t error_ns; int64_t state_hash; int64_t offset; };
        union { int64_t trade_id; int64_t ask; int64_t update_id; int64_t order_id; int64_t low; int64_t trades; int64_t quote_currency; int64_t min_qty; int64_t monotonic_ns; int64_t rule; int64_t decisions; int64_t size; };
        union { int64_t ask_qty; int64_t execution_id; int64_t close; int64_t interval_ns; int64_t max_qty; int64_t code; int64_t fee; int64_t leaves_qty; int64_t trigger_price; int64_t decision; int64_t wall_ns; };
    } TwinloopRow;
    _Static_assert(sizeof(TwinloopRow) == 64, "row size");
    _Static_assert(offsetof(TwinloopRow, venue_ns) == 0, "venue_ns");
    _Static_assert(offsetof(TwinloopRow, local_ns) == 8, "local_ns");
    _Static_assert(offsetof(TwinloopRow, sequence) == 16, "sequence");
    _Static_assert(offsetof(TwinloopRow, kind) == 24, "kind");
    _Static_assert(offsetof(TwinloopRow, side) == 25, "side");
    _Static_assert(offsetof(TwinloopRow, strategy) == 26, "strategy");
    _Static_assert(offsetof(TwinloopRow, account) == 27, "account");
    _Static_assert(offsetof(TwinloopRow, source) == 28, "source");
    _Static_assert(offsetof(TwinloopRow, flags) == 29, "flags");
    _Static_assert(offsetof(TwinloopRow, instrument) == 30, "instrument");
    _Static_assert(offsetof(TwinloopRow, price) == 32, "price");
    _Static_assert(offsetof(TwinloopRow, bid) == 32, "bid");
    _Static_assert(offsetof(TwinloopRow, open) == 32, "open");
    _Static_assert(offsetof(TwinloopRow, volume) == 32, "volume");
    _Static_assert(offsetof(TwinloopRow, status) == 32, "status");
    _Static_assert(offsetof(TwinloopRow, currency) == 32, "currency");
    _Static_assert(offsetof(TwinloopRow, tick_size) == 32, "tick_size");
    _Static_assert(offsetof(TwinloopRow, min_notional) == 32, "min_notional");
    _Static_assert(offsetof(TwinloopRow, cause_id) == 32, "cause_id");
    _Static_assert(offsetof(TwinloopRow, external_buy) == 32, "external_buy");
    _Static_assert(offsetof(TwinloopRow, due_ns) == 32, "due_ns");
    _Static_assert(offsetof(TwinloopRow, limit) == 32, "limit");
    _Static_assert(offsetof(TwinloopRow, rows) == 32, "rows");
    _Static_assert(offsetof(TwinloopRow, egress_ns) == 32, "egress_ns");
    _Static_assert(offsetof(TwinloopRow, offset_ns) == 32, "offset_ns");
    _Static_assert(offsetof(TwinloopRow, decision_hash) == 32, "decision_hash");
    _Static_assert(offsetof(TwinloopRow, file) == 32, "file");
    _Static_assert(offsetof(TwinloopRow, alert) == 32, "alert");
    _Static_assert(offsetof(TwinloopRow, qty) == 40, "qty");
    _Static_assert(offsetof(TwinloopRow, bid_qty) == 40, "bid_qty");
    _Static_assert(offsetof(TwinloopRow, high) == 40, "high");
    _Static_assert(offsetof(TwinloopRow, notional) == 40, "notional");
    _Static_assert(offsetof(TwinloopRow, rate) == 40, "rate");
    _Static_assert(offsetof(TwinloopRow, index_price) == 40, "index_price");
    _Static_assert(offsetof(TwinloopRow, lot_size) == 40, "lot_size");
    _Static_assert(offsetof(TwinloopRow, fee_currency) == 40, "fee_currency");
    _Static_assert(offsetof(TwinloopRow, external_sell) == 40, "external_sell");
    _Static_assert(offsetof(TwinloopRow, value) == 40, "value");
    _Static_assert(offsetof(TwinloopRow, timer_id) == 40, "timer_id");
    _Static_assert(offsetof(TwinloopRow, checksum) == 40, "checksum");
    _Static_assert(offsetof(TwinloopRow, request) == 40, "request");
    _Static_assert(offsetof(TwinloopRow, error_ns) == 40, "error_ns");
    _Static_assert(offsetof(TwinloopRow, state_hash) == 40, "state_hash");
    _Static_assert(offsetof(TwinloopRow, offset) == 40, "offset");
    _Static_assert(offsetof(TwinloopRow, trade_id) == 48, "trade_id");
    _Static_assert(offsetof(TwinloopRow, ask) == 48, "ask");
    _Static_assert(offsetof(TwinloopRow, update_id) == 48, "update_id");
    _Static_assert(offsetof(TwinloopRow, order_id) == 48, "order_id");
    _Static_assert(offsetof(TwinloopRow, low) == 48, "low");
    _Static_assert(offsetof(TwinloopRow, trades) == 48, "trades");
    _Static_assert(offsetof(TwinloopRow, quote_currency) == 48, "quote_currency");
    _Static_assert(offsetof(TwinloopRow, min_qty) == 48, "min_qty");
    _Static_assert(offsetof(TwinloopRow, monotonic_ns) == 48, "monotonic_ns");
    _Static_assert(offsetof(TwinloopRow, rule) == 48, "rule");
    _Static_assert(offsetof(TwinloopRow, decisions) == 48, "decisions");
    _Static_assert(offsetof(TwinloopRow, size) == 48, "size");
    _Static_assert(offsetof(TwinloopRow, ask_qty) == 56, "ask_qty");
    _Static_assert(offsetof(TwinloopRow, execution_id) == 56, "execution_id");
    _Static_assert(offsetof(TwinloopRow, close) == 56, "close");
    _Static_assert(offsetof(TwinloopRow, interval_ns) == 56, "interval_ns");
    _Static_assert(offsetof(TwinloopRow, max_qty) == 56, "max_qty");
    _Static_assert(offsetof(TwinloopRow, code) == 56, "code");
    _Static_assert(offsetof(TwinloopRow, fee) == 56, "fee");
    _Static_assert(offsetof(TwinloopRow, leaves_qty) == 56, "leaves_qty");
    _Static_assert(offsetof(TwinloopRow, trigger_price) == 56, "trigger_price");
    _Static_assert(offsetof(TwinloopRow, decision) == 56, "decision");
    _Static_assert(offsetof(TwinloopRow, wall_ns) == 56, "wall_ns");
    typedef struct { const char *name; int offset; int size; } TwinloopRowField;
    static const TwinloopRowField TWINLOOP_ROW_FIELDS[] = {
        {"venue_ns", offsetof(TwinloopRow, venue_ns), sizeof(int64_t)},
        {"local_ns", offsetof(TwinloopRow, local_ns), sizeof(int64_t)},
        {"sequence", offsetof(TwinloopRow, sequence), sizeof(int64_t)},
        {"kind", offsetof(TwinloopRow, kind), sizeof(uint8_t)},
        {"side", offsetof(TwinloopRow, side), sizeof(int8_t)},
        {"strategy", offsetof(TwinloopRow, strategy), sizeof(uint8_t)},
        {"account", offsetof(TwinloopRow, account), sizeof(uint8_t)},
        {"source", offsetof(TwinloopRow, source), sizeof(uint8_t)},
        {"flags", offsetof(TwinloopRow, flags), sizeof(uint8_t)},
        {"instrument", offsetof(TwinloopRow, instrument), sizeof(uint16_t)},
        {"price", offsetof(TwinloopRow, price), sizeof(int64_t)},
        {"bid", offsetof(TwinloopRow, bid), sizeof(int64_t)},
        {"open", offsetof(TwinloopRow, open), sizeof(int64_t)},
        {"volume", offsetof(TwinloopRow, volume), sizeof(int64_t)},
        {"status", offsetof(TwinloopRow, status), sizeof(int64_t)},
        {"currency", offsetof(TwinloopRow, currency), sizeof(int64_t)},
        {"tick_size", offsetof(TwinloopRow, tick_size), sizeof(int64_t)},
        {"min_notional", offsetof(TwinloopRow, min_notional), sizeof(int64_t)},
        {"cause_id", offsetof(TwinloopRow, cause_id), sizeof(int64_t)},
        {"external_buy", offsetof(TwinloopRow, external_buy), sizeof(int64_t)},
        {"due_ns", offsetof(TwinloopRow, due_ns), sizeof(int64_t)},
        {"limit", offsetof(TwinloopRow, limit), sizeof(int64_t)},
        {"rows", offsetof(TwinloopRow, rows), sizeof(int64_t)},
        {"egress_ns", offsetof(TwinloopRow, egress_ns), sizeof(int64_t)},
        {"offset_ns", offsetof(TwinloopRow, offset_ns), sizeof(int64_t)},
        {"decision_hash", offsetof(TwinloopRow, decision_hash), sizeof(int64_t)},
        {"file", offsetof(TwinloopRow, file), sizeof(int64_t)},
        {"alert", offsetof(TwinloopRow, alert), sizeof(int64_t)},
        {"qty", offsetof(TwinloopRow, qty), sizeof(int64_t)},
        {"bid_qty", offsetof(TwinloopRow, bid_qty), sizeof(int64_t)},
        {"high", offsetof(TwinloopRow, high), sizeof(int64_t)},
        {"notional", offsetof(TwinloopRow, notional), sizeof(int64_t)},
        {"rate", offsetof(TwinloopRow, rate), sizeof(int64_t)},
        {"index_price", offsetof(TwinloopRow, index_price), sizeof(int64_t)},
        {"lot_size", offsetof(TwinloopRow, lot_size), sizeof(int64_t)},
        {"fee_currency", offsetof(TwinloopRow, fee_currency), sizeof(int64_t)},
        {"external_sell", offsetof(TwinloopRow, external_sell), sizeof(int64_t)},
        {"value", offsetof(TwinloopRow, value), sizeof(int64_t)},
        {"timer_id", offsetof(TwinloopRow, timer_id), sizeof(int64_t)},
        {"checksum", offsetof(TwinloopRow, checksum), sizeof(int64_t)},
        {"request", offsetof(TwinloopRow, request), sizeof(int64_t)},
        {"error_ns", offsetof(TwinloopRow, error_ns), sizeof(int64_t)},
        {"state_hash", offsetof(TwinloopRow, state_hash), sizeof(int64_t)},
        {"offset", offsetof(TwinloopRow, offset), sizeof(int64_t)},
        {"trade_id", offsetof(TwinloopRow, trade_id), sizeof(int64_t)},
        {"ask", offsetof(TwinloopRow, ask), sizeof(int64_t)},
        {"update_id", offsetof(TwinloopRow, update_id), sizeof(int64_t)},
        {"order_id", offsetof(TwinloopRow, order_id), sizeof(int64_t)},
        {"low", offsetof(TwinloopRow, low), sizeof(int64_t)},
        {"trades", offsetof(TwinloopRow, trades), sizeof(int64_t)},
        {"quote_currency", offsetof(TwinloopRow, quote_currency), sizeof(int64_t)},
        {"min_qty", offsetof(TwinloopRow, min_qty), sizeof(int64_t)},
        {"monotonic_ns", offsetof(TwinloopRow, monotonic_ns), sizeof(int64_t)},
        {"rule", offsetof(TwinloopRow, rule), sizeof(int64_t)},
        {"decisions", offsetof(TwinloopRow, decisions), sizeof(int64_t)},
        {"size", offsetof(TwinloopRow, size), sizeof(int64_t)},
        {"ask_qty", offsetof(TwinloopRow, ask_qty), sizeof(int64_t)},
        {"execution_id", offsetof(TwinloopRow, execution_id), sizeof(int64_t)},
        {"close", offsetof(TwinloopRow, close), sizeof(int64_t)},
        {"interval_ns", offsetof(TwinloopRow, interval_ns), sizeof(int64_t)},
        {"max_qty", offsetof(TwinloopRow, max_qty), sizeof(int64_t)},
        {"code", offsetof(TwinloopRow, code), sizeof(int64_t)},
        {"fee", offsetof(TwinloopRow, fee), sizeof(int64_t)},
        {"leaves_qty", offsetof(TwinloopRow, leaves_qty), sizeof(int64_t)},
        {"trigger_price", offsetof(TwinloopRow, trigger_price), sizeof(int64_t)},
        {"decision", offsetof(TwinloopRow, decision), sizeof(int64_t)},
        {"wall_ns", offsetof(TwinloopRow, wall_ns), sizeof(int64_t)},
    };
    """
    ctypedef struct Row 'TwinloopRow':
        int64_t venue_ns
        int64_t local_ns
        int64_t sequence
        uint8_t kind
        int8_t side
        uint8_t strategy
        uint8_t account
        uint8_t source
        uint8_t flags
        uint16_t instrument
        int64_t price
        int64_t bid
        int64_t open
        int64_t volume
        int64_t status
        int64_t currency
        int64_t tick_size
        int64_t min_notional
        int64_t cause_id
        int64_t external_buy
        int64_t due_ns
        int64_t limit
        int64_t rows
        int64_t egress_ns
        int64_t offset_ns
        int64_t decision_hash
        int64_t file
        int64_t alert
        int64_t qty
        int64_t bid_qty
        int64_t high
        int64_t notional
        int64_t rate
        int64_t index_price
        int64_t lot_size
        int64_t fee_currency
        int64_t external_sell
        int64_t value
        int64_t timer_id
        int64_t checksum
        int64_t request
        int64_t error_ns
        int64_t state_hash
        int64_t offset
        int64_t trade_id
        int64_t ask
        int64_t update_id
        int64_t order_id
        int64_t low
        int64_t trades
        int64_t quote_currency
        int64_t min_qty
        int64_t monotonic_ns
        int64_t rule
        int64_t decisions
        int64_t size
        int64_t ask_qty
        int64_t execution_id
        int64_t close
        int64_t interval_ns
        int64_t max_qty
        int64_t code
        int64_t fee
        int64_t leaves_qty
        int64_t trigger_price
        int64_t decision
        int64_t wall_ns
    ctypedef struct RowField 'TwinloopRowField':
        const char *name
        int offset
        int size
    const RowField *ROW_FIELDS 'TWINLOOP_ROW_FIELDS'

cdef enum:
    ROW_FIELD_COUNT = 67
    ROW_SIZE = 64
    KIND_TRADE = 1
    KIND_QUOTE = 2
    KIND_LEVEL = 3
    KIND_SNAPSHOT_BEGIN = 4
    KIND_SNAPSHOT_LEVEL = 5
    KIND_SNAPSHOT_END = 6
    KIND_CLEAR = 7
    KIND_ORDER_ADD = 8
    KIND_ORDER_MODIFY = 9
    KIND_ORDER_CANCEL = 10
    KIND_ORDER_EXECUTE = 11
    KIND_BAR = 12
    KIND_STATUS = 13
    KIND_FUNDING = 14
    KIND_MARK = 15
    KIND_FX = 16
    KIND_INSTRUMENT = 20
    KIND_ACK = 32
    KIND_REJECT = 33
    KIND_FILL = 34
    KIND_CANCELLED = 35
    KIND_EXPIRED = 36
    KIND_AMENDED = 37
    KIND_UNKNOWN = 38
    KIND_CANCEL_REJECT = 39
    KIND_AMEND_REJECT = 40
    KIND_EXTERNAL_WORKING = 41
    KIND_BUST = 42
    KIND_FEE_CHANGED = 43
    KIND_FUNDING_PAID = 44
    KIND_TIMER = 48
    KIND_CLOCK = 49
    KIND_FEED_GAP = 56
    KIND_FEED_STALE = 57
    KIND_FEED_SWITCHED = 58
    KIND_FEED_RECOVERED = 59
    KIND_HALT = 64
    KIND_REDUCE = 65
    KIND_RESUME = 66
    KIND_FLATTEN = 67
    KIND_LIMIT_CHANGE = 68
    KIND_NOTE = 69
    KIND_ADJUSTMENT = 70
    KIND_TRANSFER = 71
    KIND_NEW = 80
    KIND_AMEND = 81
    KIND_CANCEL = 82
    KIND_SEAL = 96
    KIND_SENT = 97
    KIND_NOT_SENT = 98
    KIND_VERDICT = 99
    KIND_CLOCK_MAP = 100
    KIND_HASH = 101
    KIND_RAW_FRAME = 102
    KIND_ALERT = 103
    KIND_ALERT_ACKNOWLEDGED = 104
    KIND_SWEPT = 105
    FLAG_CONTINUES = 1
    FLAG_TAIL = 2
    FLAG_EVENT_END = 4
    FLAG_OFF_MARKET = 8
    FLAG_MAKER = 16
    FLAG_WARMUP = 32
    FLAG_SYNTHETIC = 64
    FLAG_LATE = 128
