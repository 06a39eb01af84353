"""Texts of requests for compiled code that sends them."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef enum:
    ID_MAX = 64
    FORMS = 4

cdef struct Piece:
    # Text that stays, then what fills the slot behind it; NO_SLOT at the end.
    Py_ssize_t start, stop
    int slot

cdef struct Form:
    Piece* pieces
    Py_ssize_t count

cdef struct Values:
    int64_t qty, price, trigger_price, timestamp_ms, number
    const uint8_t* client_id
    Py_ssize_t client_id_size
    const uint8_t* signature
    Py_ssize_t signature_size


cdef class HmacKey:
    cdef uint32_t[8] inner
    cdef uint32_t[8] outer

    cdef void hexdigest(self, const uint8_t* text, Py_ssize_t size, uint8_t* out) noexcept nogil


cdef class OrderText:
    cdef bytes literals
    cdef const uint8_t* stays
    cdef Form[FORMS] forms
    cdef int qty_scale, price_scale
    cdef HmacKey key
    cdef object sign
    cdef uint8_t* payload
    cdef uint8_t* text

    cdef Py_ssize_t fill(self, int form, const Values* values, uint8_t* out) noexcept nogil
    cdef Py_ssize_t write_message(self, Values* values, bint signed) except -1
    cdef bytes write_frame(self, Values* values, bint signed)
    cdef bytes _signed_elsewhere(self, Py_ssize_t size)
    cdef int _values(self, Values* values, int64_t qty, int64_t price, int64_t trigger_price, bytes client_id, int64_t timestamp_ms) except -1
