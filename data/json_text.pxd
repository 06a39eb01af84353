"""Text of JSON, walked by a pointer: what the readers of messages share. Exact integers from digits, never through a float.

No function here has an end test: the text must end in a byte that no JSON goes on with (a line feed, a zero), at which every loop and
every comparison stops. NULL means: not of the usual form, leave it to a complete parser.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t

ctypedef const uint8_t* Text

cdef enum:
    DIGITS_MAX = 18

cdef extern from *:
    """
    static const int64_t TWINLOOP_POW10[19] = {
        1LL, 10LL, 100LL, 1000LL, 10000LL, 100000LL, 1000000LL, 10000000LL, 100000000LL, 1000000000LL, 10000000000LL,
        100000000000LL, 1000000000000LL, 10000000000000LL, 100000000000000LL, 1000000000000000LL, 10000000000000000LL,
        100000000000000000LL, 1000000000000000000LL};
    """
    const int64_t[19] POW10 "TWINLOOP_POW10"


cdef inline Text spaces(Text at) noexcept nogil:
    while at[0] == c' ':
        at += 1
    return at


cdef inline Text literal(Text at, const char* expected) noexcept nogil:
    """Position after the expected characters, or NULL."""
    while expected[0]:
        if at[0] != <uint8_t>expected[0]:
            return NULL
        at += 1
        expected += 1
    return at


cdef inline Text plain_string(Text at) noexcept nogil:
    """Position after the closing quote of a string that opens at `at`; NULL unless plain ASCII without escapes."""
    if at[0] != c'"':
        return NULL
    at += 1
    while at[0] != c'"':
        if at[0] < 0x20 or at[0] > 0x7E or at[0] == c'\\':
            return NULL
        at += 1
    return at + 1


cdef inline Text integer(Text at, int64_t* value) noexcept nogil:
    """JSON integer >= 0 of at most 18 digits."""
    cdef Text start = at
    cdef uint64_t found = 0
    cdef unsigned int digit = at[0] - <unsigned int>c'0'
    while digit <= 9:
        found = found * 10 + digit
        at += 1
        digit = at[0] - <unsigned int>c'0'
    if at == start or at - start > DIGITS_MAX or (start[0] == c'0' and at - start > 1):
        return NULL
    if at[0] == c'.' or at[0] == c'e' or at[0] == c'E':
        return NULL
    value[0] = <int64_t>found
    return at


cdef inline Text decimal(Text at, int scale, int64_t* value) noexcept nogil:
    """Quoted plain decimal as an exact scaled integer; NULL when it has another form or does not fit."""
    cdef Text start
    cdef uint64_t found = 0
    cdef unsigned int digit
    cdef int missing = scale
    if at[0] != c'"':
        return NULL
    at += 1
    start = at
    digit = at[0] - <unsigned int>c'0'
    while digit <= 9:
        found = found * 10 + digit
        at += 1
        digit = at[0] - <unsigned int>c'0'
    if at == start or at - start + scale > DIGITS_MAX:
        return NULL
    if at[0] == c'.':
        at += 1
        start = at
        digit = at[0] - <unsigned int>c'0'
        while digit <= 9 and missing > 0:
            found = found * 10 + digit
            missing -= 1
            at += 1
            digit = at[0] - <unsigned int>c'0'
        while at[0] == c'0':
            at += 1
        if at == start or at - start > 2 * DIGITS_MAX:
            return NULL
    if at[0] != c'"':
        return NULL
    value[0] = <int64_t>found * POW10[missing]
    return at + 1


cdef inline bint decimal_rounded(Text at, int scale, int64_t* value, bint* rounded) noexcept nogil:
    """Quoted decimal, optional minus, to the nearest scaled integer, half to even; False when it does not fit."""
    cdef bint negative = at[1] == c'-'
    cdef Text start
    cdef uint64_t found = 0
    cdef int missing = scale
    cdef int first_lost = 0
    cdef bint more_lost = False
    at += 2 if negative else 1
    start = at
    while c'0' <= at[0] <= c'9':
        found = found * 10 + (at[0] - c'0')
        at += 1
    if at == start or at - start + scale >= DIGITS_MAX:
        return False
    if at[0] == c'.':
        at += 1
        start = at
        while c'0' <= at[0] <= c'9':
            if missing > 0:
                found = found * 10 + (at[0] - c'0')
                missing -= 1
            elif at - start == scale:
                first_lost = at[0] - c'0'
            elif at[0] != c'0':
                more_lost = True
            at += 1
        if at == start or at - start > 2 * DIGITS_MAX:
            return False
    if at[0] != c'"':
        return False
    found *= POW10[missing]
    if first_lost > 5 or (first_lost == 5 and (more_lost or found % 2 == 1)):
        found += 1
    rounded[0] = first_lost > 0 or more_lost
    value[0] = -(<int64_t>found) if negative else <int64_t>found
    return True


cdef inline Text scalar(Text at) noexcept nogil:
    """Position after a string, plain number, true, false or null whose value nobody needs."""
    cdef Text start
    if at[0] == c'"':
        return plain_string(at)
    if at[0] == c't':
        return literal(at, b"true")
    if at[0] == c'f':
        return literal(at, b"false")
    if at[0] == c'n':
        return literal(at, b"null")
    if at[0] == c'-':
        at += 1
    start = at
    while c'0' <= at[0] <= c'9':
        at += 1
    if at == start or (start[0] == c'0' and at - start > 1) or at - start > DIGITS_MAX:
        return NULL
    if at[0] == c'.':
        at += 1
        start = at
        while c'0' <= at[0] <= c'9':
            at += 1
        if at == start:
            return NULL
    return at if at[0] == c',' or at[0] == c'}' or at[0] == c' ' else NULL


cdef inline bint same(Text at, Text expected, Py_ssize_t size) noexcept nogil:
    """Whether the quoted string that opens at `at` is the expected one."""
    cdef Py_ssize_t i
    if at[0] != c'"':
        return False
    for i in range(size):
        if at[1 + i] != expected[i]:
            return False
    return at[1 + size] == c'"'
