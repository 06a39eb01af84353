# The compression function of SHA-256 (FIPS 180-4, 6.2.2), by the processor's instructions or in plain C: for signatures, which begin from a
# state that a key gave. Neither branches nor looks anything up by data, so that its time tells nothing of the key.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    #include <string.h>

    static const uint32_t twinloop_sha_k[64] = {
        0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u, 0xab1c5ed5u,
        0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u,
        0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
        0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u,
        0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u,
        0xa2bfe8a1u, 0xa81a664bu, 0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
        0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
        0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u};

    static uint32_t twinloop_sha_turn(uint32_t x, int n) { return x >> n | x << (32 - n); }

    static void twinloop_sha_soft(uint32_t* state, const uint8_t* at, size_t blocks) {
        uint32_t w[64], a, b, c, d, e, f, g, h;
        for (; blocks; blocks--, at += 64) {
            for (int i = 0; i < 16; i++)
                w[i] = (uint32_t)at[4 * i] << 24 | (uint32_t)at[4 * i + 1] << 16 | (uint32_t)at[4 * i + 2] << 8 | at[4 * i + 3];
            for (int i = 16; i < 64; i++) {
                uint32_t x = w[i - 15], y = w[i - 2];
                w[i] = w[i - 16] + w[i - 7] + (twinloop_sha_turn(x, 7) ^ twinloop_sha_turn(x, 18) ^ x >> 3)
                     + (twinloop_sha_turn(y, 17) ^ twinloop_sha_turn(y, 19) ^ y >> 10);
            }
            a = state[0]; b = state[1]; c = state[2]; d = state[3]; e = state[4]; f = state[5]; g = state[6]; h = state[7];
            for (int i = 0; i < 64; i++) {
                uint32_t one = h + (twinloop_sha_turn(e, 6) ^ twinloop_sha_turn(e, 11) ^ twinloop_sha_turn(e, 25))
                             + ((e & f) ^ (~e & g)) + twinloop_sha_k[i] + w[i];
                uint32_t two = (twinloop_sha_turn(a, 2) ^ twinloop_sha_turn(a, 13) ^ twinloop_sha_turn(a, 22))
                             + ((a & b) ^ (a & c) ^ (b & c));
                h = g; g = f; f = e; e = d + one; d = c; c = b; b = a; a = one + two;
            }
            state[0] += a; state[1] += b; state[2] += c; state[3] += d; state[4] += e; state[5] += f; state[6] += g; state[7] += h;
        }
    }

    #if defined(__x86_64__) && defined(__GNUC__)
    #include <cpuid.h>
    #include <immintrin.h>
    __attribute__((target("sha,sse4.1,ssse3")))
    static void twinloop_sha_hard(uint32_t* state, const uint8_t* at, size_t blocks) {
        const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
        __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i*)state), 0xB1);
        __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i*)(state + 4)), 0x1B);
        __m128i abef = _mm_alignr_epi8(low, high, 8);
        __m128i cdgh = _mm_blend_epi16(high, low, 0xF0);
        for (; blocks; blocks--, at += 64) {
            const __m128i abef_before = abef, cdgh_before = cdgh;
            __m128i w[4];
            for (int i = 0; i < 4; i++) w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i*)(at + 16 * i)), swap);
            #pragma GCC unroll 16
            for (int i = 0; i < 16; i++) {
                __m128i now = w[i & 3];
                __m128i sum = _mm_add_epi32(now, _mm_loadu_si128((const __m128i*)(twinloop_sha_k + 4 * i)));
                cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
                abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0E));
                if (i < 12) {
                    /* Words 4i+16 .. 4i+19 of the schedule, from those of the last four steps. */
                    __m128i next = _mm_sha256msg1_epu32(now, w[(i + 1) & 3]);
                    next = _mm_add_epi32(next, _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4));
                    w[i & 3] = _mm_sha256msg2_epu32(next, w[(i + 3) & 3]);
                }
            }
            abef = _mm_add_epi32(abef, abef_before);
            cdgh = _mm_add_epi32(cdgh, cdgh_before);
        }
        low = _mm_shuffle_epi32(abef, 0x1B);
        high = _mm_shuffle_epi32(cdgh, 0xB1);
        _mm_storeu_si128((__m128i*)state, _mm_blend_epi16(low, high, 0xF0));
        _mm_storeu_si128((__m128i*)(state + 4), _mm_alignr_epi8(high, low, 8));
    }
    static int twinloop_sha_by_instruction(void) {
        unsigned int a, b, c, d;
        if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 19 & 1) || !(c >> 9 & 1)) return 0;
        return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1);
    }
    #else
    static void twinloop_sha_hard(uint32_t* state, const uint8_t* at, size_t blocks) { twinloop_sha_soft(state, at, blocks); }
    static int twinloop_sha_by_instruction(void) { return 0; }
    #endif

    static int twinloop_sha_use_instruction = 0;

    static void twinloop_sha(uint32_t* state, const uint8_t* at, size_t blocks) {
        if (twinloop_sha_use_instruction) twinloop_sha_hard(state, at, blocks);
        else twinloop_sha_soft(state, at, blocks);
    }
    """
    int sha_by_instruction "twinloop_sha_by_instruction" () noexcept nogil
    int sha_use_instruction "twinloop_sha_use_instruction"
    # Takes whole blocks of 64 bytes into a state of eight words.
    void sha_blocks "twinloop_sha" (uint32_t* state, const uint8_t* at, size_t blocks) noexcept nogil
    void sha_blocks_soft "twinloop_sha_soft" (uint32_t* state, const uint8_t* at, size_t blocks) noexcept nogil


cdef inline void sha_begin(uint32_t* state) noexcept nogil:
    """The state before the first block."""
    state[0], state[1], state[2], state[3] = 0x6A09E667u, 0xBB67AE85u, 0x3C6EF372u, 0xA54FF53Au
    state[4], state[5], state[6], state[7] = 0x510E527Fu, 0x9B05688Cu, 0x1F83D9ABu, 0x5BE0CD19u
