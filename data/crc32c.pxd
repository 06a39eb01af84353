# CRC32C (Castagnoli, reflected polynomial 0x82F63B78) by the processor's instruction, or by tables where there is none.
from libc.stdint cimport uint8_t, uint32_t

cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    #include <string.h>
    static uint32_t twinloop_crc_table[8][256];

    static void twinloop_crc_begin(void) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; bit++) value = (value >> 1) ^ (0x82F63B78u & (0u - (value & 1u)));
            twinloop_crc_table[0][i] = value;
        }
        for (uint32_t i = 0; i < 256; i++)
            for (int k = 1; k < 8; k++) {
                uint32_t before = twinloop_crc_table[k - 1][i];
                twinloop_crc_table[k][i] = (before >> 8) ^ twinloop_crc_table[0][before & 255];
            }
    }

    /* state: the checksum so far, inverted. Eight bytes at a time (Kounavis and Berry's slicing). */
    static uint32_t twinloop_crc_soft(uint32_t state, const uint8_t* at, size_t size) {
        while (size >= 8) {
            uint32_t low = state ^ ((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);
            state = twinloop_crc_table[7][low & 255] ^ twinloop_crc_table[6][(low >> 8) & 255]
                  ^ twinloop_crc_table[5][(low >> 16) & 255] ^ twinloop_crc_table[4][low >> 24]
                  ^ twinloop_crc_table[3][at[4]] ^ twinloop_crc_table[2][at[5]]
                  ^ twinloop_crc_table[1][at[6]] ^ twinloop_crc_table[0][at[7]];
            at += 8;
            size -= 8;
        }
        while (size--) state = (state >> 8) ^ twinloop_crc_table[0][(state ^ *at++) & 255];
        return state;
    }

    #if defined(__x86_64__) && defined(__GNUC__)
    __attribute__((target("sse4.2")))
    static uint32_t twinloop_crc_hard(uint32_t state, const uint8_t* at, size_t size) {
        uint64_t wide = state;
        while (size >= 8) {
            uint64_t word;
            memcpy(&word, at, 8);
            wide = __builtin_ia32_crc32di(wide, word);
            at += 8;
            size -= 8;
        }
        state = (uint32_t)wide;
        while (size--) state = __builtin_ia32_crc32qi(state, *at++);
        return state;
    }
    static int twinloop_crc_by_instruction(void) { return __builtin_cpu_supports("sse4.2") != 0; }
    #else
    static uint32_t twinloop_crc_hard(uint32_t state, const uint8_t* at, size_t size) {
        return twinloop_crc_soft(state, at, size);
    }
    static int twinloop_crc_by_instruction(void) { return 0; }
    #endif

    static int twinloop_crc_use_instruction = 0;

    static uint32_t twinloop_crc(uint32_t state, const uint8_t* at, size_t size) {
        return twinloop_crc_use_instruction ? twinloop_crc_hard(state, at, size) : twinloop_crc_soft(state, at, size);
    }
    """
    void crc_begin "twinloop_crc_begin" () noexcept nogil
    int crc_by_instruction "twinloop_crc_by_instruction" () noexcept nogil
    int crc_use_instruction "twinloop_crc_use_instruction"
    # The state is the checksum inverted: of rows a, then b, it is crc(crc(~before, a), b), and the checksum is its inverse.
    uint32_t crc "twinloop_crc" (uint32_t state, const uint8_t* at, size_t size) noexcept nogil
    uint32_t crc_soft "twinloop_crc_soft" (uint32_t state, const uint8_t* at, size_t size) noexcept nogil
