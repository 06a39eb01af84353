"""Texts of a venue's requests about orders: put together from pieces, signed, and framed for a WebSocket, in one call each.

    text = OrderText(pieces, qty_scale=3, price_scale=1, signer=signer)
    text.message(qty, price, 0, b"tl-1-0-h-0", timestamp_ms, number, sign=True)   # of the WebSocket API, as JSON
    text.frame(...)                                                                 # the same as its bytes go over the wire

What a request looks like stands in data/binance_orders.py, which is the twin: data/binance_templates.py cuts its texts into pieces. This
module must not keep anything of an order, or know what a request means. Its objects show nothing: they hold keys.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from twinloop.data.json_text cimport POW10
from twinloop.data.sha256 cimport sha_begin, sha_blocks, sha_blocks_soft, sha_by_instruction, sha_use_instruction

import hashlib
import os

cdef extern from *:
    """
    static const char TWINLOOP_HEX[] = "0123456789abcdef";
    """
    const char* HEX "TWINLOOP_HEX"

cdef enum:
    NO_SLOT = -1
    AT_QTY = 0
    AT_PRICE = 1
    AT_TRIGGER_PRICE = 2
    AT_CLIENT_ID = 3
    AT_TIMESTAMP = 4
    AT_SIGNATURE = 5
    AT_NUMBER = 6
    SLOTS = 7
    # Forms.
    OF_QUERY = 0
    OF_PAYLOAD = 1
    OF_SIGNED = 2
    OF_UNSIGNED = 3
    BLOCK = 64
    DIGEST = 32
    SIGNATURE_MAX = 512
    SCALE_MAX = 18
    HEAD_MAX = 14  # Of a WebSocket frame.
    MASKS = 1024  # Drawn at once.

QTY = AT_QTY
PRICE = AT_PRICE
TRIGGER_PRICE = AT_TRIGGER_PRICE
CLIENT_ID = AT_CLIENT_ID
TIMESTAMP = AT_TIMESTAMP
SIGNATURE = AT_SIGNATURE
NUMBER = AT_NUMBER
NOTHING = NO_SLOT

sha_use_instruction = sha_by_instruction()


cdef class HmacKey:
    """HMAC-SHA256 (RFC 2104): a key as the two states that it gives, good for nothing but signing. The twin is the library's `hmac`."""

    def __init__(self, bytes key not None) -> None:
        if len(key) > BLOCK:
            key = hashlib.sha256(key).digest()
        begin_with(self.inner, key, 0x36)
        begin_with(self.outer, key, 0x5C)

    cdef void hexdigest(self, const uint8_t* text, Py_ssize_t size, uint8_t* out) noexcept nogil:
        """64 hexadecimal digits."""
        cdef uint32_t[8] state
        cdef uint8_t[DIGEST] found
        cdef int i
        finish(self.inner, text, size, state)
        store(state, found)
        finish(self.outer, found, DIGEST, state)
        store(state, found)
        for i in range(DIGEST):
            out[2 * i] = <uint8_t>HEX[found[i] >> 4]
            out[2 * i + 1] = <uint8_t>HEX[found[i] & 15]

    def sign(self, bytes text not None) -> str:
        """Signature of a text."""
        cdef uint8_t[2 * DIGEST] out
        self.hexdigest(<const uint8_t*>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), out)
        return (<char*>out)[:2 * DIGEST].decode("ascii")

    def __repr__(self) -> str:
        return "HmacKey(****)"

    def __reduce__(self):
        raise TypeError("a secret is not pickled")


cdef void begin_with(uint32_t* state, bytes key, uint8_t mixed) noexcept:
    """The state after a key's block."""
    cdef uint8_t[BLOCK] pad
    cdef Py_ssize_t i
    memset(pad, mixed, BLOCK)
    for i in range(PyBytes_GET_SIZE(key)):
        pad[i] ^= <uint8_t>PyBytes_AS_STRING(key)[i]
    sha_begin(state)
    sha_blocks(state, pad, 1)


cdef void finish(const uint32_t* before, const uint8_t* text, Py_ssize_t size, uint32_t* state) noexcept nogil:
    """The state after one block that gave `before`, this text, and the padding."""
    cdef uint8_t[2 * BLOCK] rest
    cdef Py_ssize_t whole = size // BLOCK, left = size % BLOCK, i
    cdef Py_ssize_t padded = BLOCK if left + 9 <= BLOCK else 2 * BLOCK
    cdef uint64_t bits = <uint64_t>(size + BLOCK) * 8
    memcpy(state, before, 8 * sizeof(uint32_t))
    if whole:
        sha_blocks(state, text, whole)
    memset(rest, 0, 2 * BLOCK)
    memcpy(rest, text + whole * BLOCK, left)
    rest[left] = 0x80
    for i in range(8):
        rest[padded - 1 - i] = <uint8_t>(bits >> (8 * i))
    sha_blocks(state, rest, padded // BLOCK)


cdef void store(const uint32_t* state, uint8_t* out) noexcept nogil:
    cdef int i
    for i in range(8):
        out[4 * i] = <uint8_t>(state[i] >> 24)
        out[4 * i + 1] = <uint8_t>(state[i] >> 16)
        out[4 * i + 2] = <uint8_t>(state[i] >> 8)
        out[4 * i + 3] = <uint8_t>state[i]


def sha256_both(bytes text not None) -> tuple[bytes, bytes]:
    """Digests of a text by the processor's instructions (where it has them) and in plain C: for a test."""
    cdef uint8_t[DIGEST] found
    cdef uint8_t[BLOCK] first
    cdef uint32_t[8] begun
    cdef uint32_t[8] state
    cdef int saved = sha_use_instruction, hard
    both = []
    if len(text) < BLOCK:
        raise ValueError(f"the text must have at least {BLOCK} bytes, got {len(text)}")
    global sha_use_instruction
    try:
        for hard in (saved, 0):
            sha_use_instruction = hard
            memcpy(first, PyBytes_AS_STRING(text), BLOCK)
            sha_begin(begun)
            sha_blocks(begun, first, 1)
            finish(begun, <const uint8_t*>PyBytes_AS_STRING(text) + BLOCK, PyBytes_GET_SIZE(text) - BLOCK, state)
            store(state, found)
            both.append((<char*>found)[:DIGEST])
    finally:
        sha_use_instruction = saved
    return both[0], both[1]


cdef inline uint8_t* put_number(uint8_t* at, uint64_t value) noexcept nogil:
    cdef uint8_t[20] digits
    cdef int count = 0
    while True:
        digits[count] = <uint8_t>(c'0' + value % 10)
        count += 1
        value //= 10
        if value == 0:
            break
    while count:
        count -= 1
        at[0] = digits[count]
        at += 1
    return at


cdef inline uint8_t* put_decimal(uint8_t* at, int64_t value, int scale) noexcept nogil:
    """As data/instruments.py from_scaled: exactly `scale` decimals."""
    cdef uint64_t size = <uint64_t>value, rest
    cdef int i
    if value < 0:
        at[0] = c'-'
        at += 1
        size = 0 - size
    if scale == 0:
        return put_number(at, size)
    at = put_number(at, size // <uint64_t>POW10[scale])
    rest = size % <uint64_t>POW10[scale]
    at[0] = c'.'
    for i in range(scale, 0, -1):
        at[i] = <uint8_t>(c'0' + rest % 10)
        rest //= 10
    return at + scale + 1


cdef class OrderText:
    """A kind of request. pieces: of its REST query or form, its payload to be signed, its signed message, its message on a session that is
    logged on; each a list of (text that stays, slot behind it). signer: an HmacKey, or a call that gives the signature of a text.
    """

    def __cinit__(self, *_, **__) -> None:
        memset(self.forms, 0, sizeof(self.forms))

    def __init__(self, pieces, *, int qty_scale, int price_scale, signer) -> None:
        cdef Py_ssize_t at = 0, most = 0, room
        cdef int form, i
        if not (0 <= qty_scale <= SCALE_MAX and 0 <= price_scale <= SCALE_MAX):
            raise ValueError(f"scales must be 0 to {SCALE_MAX}, got {qty_scale} and {price_scale}")
        self.qty_scale, self.price_scale = qty_scale, price_scale
        if isinstance(signer, HmacKey):
            self.key = signer
        else:
            self.sign = signer
        self.literals = b"".join(text for form_pieces in pieces for text, _ in form_pieces)
        self.stays = <const uint8_t*>PyBytes_AS_STRING(self.literals)
        for form, its in enumerate(pieces):
            if form == FORMS or self.forms[form].pieces != NULL:
                raise ValueError(f"a kind of request has {FORMS} forms, once")
            self.forms[form].pieces = <Piece*>calloc(len(its) + 1, sizeof(Piece))
            if self.forms[form].pieces == NULL:
                raise MemoryError
            self.forms[form].count = len(its)
            room = 0
            for i, (text, slot) in enumerate(its):
                if not NO_SLOT <= slot < SLOTS:
                    raise ValueError(f"no such slot: {slot}")
                self.forms[form].pieces[i].start, self.forms[form].pieces[i].stop = at, at + len(text)
                self.forms[form].pieces[i].slot = slot
                at += len(text)
                room += len(text) + (SIGNATURE_MAX if slot == AT_SIGNATURE else ID_MAX)
            most = max(most, room)
        self.payload, self.text = <uint8_t*>malloc(most + 1), <uint8_t*>malloc(most + 1)
        if self.payload == NULL or self.text == NULL:
            raise MemoryError

    def __dealloc__(self) -> None:
        cdef int form
        for form in range(FORMS):
            free(self.forms[form].pieces)
        free(self.payload)
        free(self.text)

    def __repr__(self) -> str:
        return "OrderText(****)"

    def __reduce__(self):
        raise TypeError("a secret is not pickled")

    cdef Py_ssize_t fill(self, int form, const Values* values, uint8_t* out) noexcept nogil:
        """Write a form; how many bytes it has."""
        cdef const uint8_t* literals = self.stays
        cdef const Piece* piece = self.forms[form].pieces
        cdef const Piece* end = piece + self.forms[form].count
        cdef uint8_t* at = out
        while piece < end:
            memcpy(at, literals + piece.start, piece.stop - piece.start)
            at += piece.stop - piece.start
            if piece.slot == AT_QTY:
                at = put_decimal(at, values.qty, self.qty_scale)
            elif piece.slot == AT_PRICE:
                at = put_decimal(at, values.price, self.price_scale)
            elif piece.slot == AT_TRIGGER_PRICE:
                at = put_decimal(at, values.trigger_price, self.price_scale)
            elif piece.slot == AT_CLIENT_ID:
                memcpy(at, values.client_id, values.client_id_size)
                at += values.client_id_size
            elif piece.slot == AT_TIMESTAMP:
                at = put_decimal(at, values.timestamp_ms, 0)
            elif piece.slot == AT_SIGNATURE:
                memcpy(at, values.signature, values.signature_size)
                at += values.signature_size
            elif piece.slot == AT_NUMBER:
                at = put_decimal(at, values.number, 0)
            piece += 1
        return at - out

    cdef Py_ssize_t write_message(self, Values* values, bint signed) except -1:
        """The JSON text of the WebSocket API into self.text; how many bytes it has."""
        cdef uint8_t[2 * DIGEST] digits
        cdef Py_ssize_t size
        cdef bytes signature
        if not signed:
            return self.fill(OF_UNSIGNED, values, self.text)
        size = self.fill(OF_PAYLOAD, values, self.payload)
        if self.key is not None:
            self.key.hexdigest(self.payload, size, digits)
            values.signature, values.signature_size = digits, 2 * DIGEST
            return self.fill(OF_SIGNED, values, self.text)
        signature = self._signed_elsewhere(size)
        values.signature, values.signature_size = <const uint8_t*>PyBytes_AS_STRING(signature), PyBytes_GET_SIZE(signature)
        return self.fill(OF_SIGNED, values, self.text)

    cdef bytes _signed_elsewhere(self, Py_ssize_t size):
        cdef bytes signature = self.sign((<char*>self.payload)[:size].decode("utf-8")).encode("ascii")
        if PyBytes_GET_SIZE(signature) > SIGNATURE_MAX:
            raise ValueError(f"a signature must have at most {SIGNATURE_MAX} characters, got {PyBytes_GET_SIZE(signature)}")
        return signature

    cdef bytes write_frame(self, Values* values, bint signed):
        """A masked WebSocket frame of the message."""
        cdef Py_ssize_t size = self.write_message(values, signed)
        return masked(self.text, size, MASK_SUPPLY.next())

    cdef int _values(self, Values* values, int64_t qty, int64_t price, int64_t trigger_price, bytes client_id, int64_t timestamp_ms) except -1:
        if PyBytes_GET_SIZE(client_id) > ID_MAX:
            raise ValueError(f"a client order id must have at most {ID_MAX} bytes, got {PyBytes_GET_SIZE(client_id)}")
        values.qty, values.price, values.trigger_price, values.timestamp_ms = qty, price, trigger_price, timestamp_ms
        values.number = 0
        values.client_id, values.client_id_size = <const uint8_t*>PyBytes_AS_STRING(client_id), PyBytes_GET_SIZE(client_id)
        values.signature, values.signature_size = NULL, 0
        return 0

    def query(self, int64_t qty, int64_t price, int64_t trigger_price, bytes client_id not None, int64_t timestamp_ms) -> str:
        """The query or form of the REST call, without its signature."""
        cdef Values values
        self._values(&values, qty, price, trigger_price, client_id, timestamp_ms)
        return (<char*>self.text)[:self.fill(OF_QUERY, &values, self.text)].decode("ascii")

    def message(
        self, int64_t qty, int64_t price, int64_t trigger_price, bytes client_id not None, int64_t timestamp_ms, int64_t number, *, bint sign
    ) -> str:
        """The message of the WebSocket API. sign: False on a session that has logged on."""
        cdef Values values
        self._values(&values, qty, price, trigger_price, client_id, timestamp_ms)
        values.number = number
        return (<char*>self.text)[:self.write_message(&values, sign)].decode("utf-8")


cdef class MaskSupply:
    """Masks of frames that a client sends, unpredictable as RFC 6455 (5.3) asks: drawn from the system, many at once."""

    cdef bytes drawn
    cdef Py_ssize_t at

    def __init__(self) -> None:
        self.drawn, self.at = b"", 0

    cdef uint32_t next(self) except? 0:
        cdef uint32_t found
        if self.at + 4 > PyBytes_GET_SIZE(self.drawn):
            self.draw()
        memcpy(&found, PyBytes_AS_STRING(self.drawn) + self.at, 4)
        self.at += 4
        return found

    cdef int draw(self) except -1:
        self.drawn, self.at = os.urandom(4 * MASKS), 0
        return 0


cdef MaskSupply MASK_SUPPLY = MaskSupply()


def draw_masks() -> None:
    """Draw masks for a while ahead, where few are left: to be called where time does not matter."""
    if MASK_SUPPLY.at + 4 * MASKS // 2 > PyBytes_GET_SIZE(MASK_SUPPLY.drawn):
        MASK_SUPPLY.draw()


cdef bytes masked(const uint8_t* text, Py_ssize_t size, uint32_t mask):
    """A whole text message of a client as it goes over the wire (RFC 6455, 5.2)."""
    cdef uint8_t[HEAD_MAX] head
    cdef Py_ssize_t head_size = 2, i
    cdef uint64_t wide = <uint64_t>mask << 32 | mask, word
    cdef bytes found
    cdef uint8_t* out
    head[0] = 0x81
    if size < 126:
        head[1] = <uint8_t>(0x80 | size)
    elif size < 65536:
        head[1], head[2], head[3] = 0x80 | 126, <uint8_t>(size >> 8), <uint8_t>size
        head_size = 4
    else:
        head[1] = 0x80 | 127
        for i in range(8):
            head[2 + i] = <uint8_t>(<uint64_t>size >> (56 - 8 * i))
        head_size = 10
    memcpy(&head[head_size], &mask, 4)
    head_size += 4
    found = PyBytes_FromStringAndSize(NULL, head_size + size)
    out = <uint8_t*>PyBytes_AS_STRING(found)
    memcpy(out, head, head_size)
    out += head_size
    for i in range(0, size - 7, 8):
        memcpy(&word, text + i, 8)
        word ^= wide
        memcpy(out + i, &word, 8)
    for i in range(size & ~<Py_ssize_t>7, size):
        out[i] = text[i] ^ (<const uint8_t*>&mask)[i & 3]
    return found


def masked_frame(bytes text not None) -> bytes:
    """A whole text message of a client as it goes over the wire."""
    return masked(<const uint8_t*>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), MASK_SUPPLY.next())
