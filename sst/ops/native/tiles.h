// The products of attention by AMX's tiles, for processors that have them (Intel from Sapphire Rapids on).
//
// AMX multiplies bfloat16 and adds in float32. A float32 number is exactly a sum of three bfloat16 numbers, x = h + m + l,
// so the six products hh, hm, mh, mm, hl, lh give a logit within 2^-24. Weights and values are sums of two, and three
// products give their product within 2^-17: the result is within 5e-6 of the reference, where plain float32 is within 3e-7.
//
// The tiles compute the logits of the next strip of keys and the sum over values of the last one, while the vector units
// compute the softmax of the present one (`soften`).
//
// A tile has 16 rows of 64 bytes. Words of two bfloat16 numbers lie where the float32 number was, so packing needs no
// permutation: a row of a left tile is a query (or its weights), word c is channel c (or keys c and 16 + c).

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

constexpr int SIDE = 16;                 // rows of a tile, and 32-bit words of a row
constexpr int WORDS = SIDE * SIDE;       // of a tile
constexpr int GROUP = 2 * SIDE;          // keys that one product of weights and values sums over
constexpr int STRIP = SIDE * SIDE;       // keys between two updates of the softmax
constexpr int PANEL = 1024;              // keys whose bias is at hand
constexpr float LOWEST = -3e38f;         // below all logits
constexpr int TILE_ROWS = 128;           // queries of a task
constexpr int MOST_STATES = 256;         // groups of SIDE queries that are begun with one panel and go on with the next

typedef uint32_t Words __attribute__((vector_size(LANES * sizeof(uint32_t)), aligned(4)));

static inline Words upper(Vector v) { return (Words)v & 0xffff0000u; }
static inline Words nearest(Vector v) { return ((Words)v + 0x8000u) & 0xffff0000u; }
static inline Words pair(Words low, Words high) { return low >> 16 | high; }  // both are upper halves
static inline void store(uint32_t *p, Words v) { *(Words *)p = v; }

// Whether the system lets this process use the tiles.
static bool tiles_allowed() {
    static const bool allowed = syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tiles' data */) == 0;
    return allowed;
}

static void configure_tiles() {
    struct {
        uint8_t palette = 1, start = 0, reserved[14] = {};
        uint16_t bytes[16] = {};
        uint8_t rows[16] = {};
    } all;
    for (int i = 0; i < 8; i++) all.bytes[i] = 4 * SIDE, all.rows[i] = SIDE;
    _tile_loadconfig(&all);
}

// Where packed keys and values of a window lie: tiles of 16 keys and 16 channels, or of 32 keys and 16 channels.
static uint32_t *tiles_of(const Problem &p, int kind, int64_t head, int64_t window) {
    return (uint32_t *)packed(p, kind, head, window);
}

static inline __mmask16 lanes_below(int64_t count) { return count >= LANES ? 0xffff : (1u << count) - 1; }

// LANES channels from `from` on, 0 beyond `count`.
static inline Vector channels(const float *from, int64_t count) {
    return (Vector)_mm512_maskz_loadu_ps(lanes_below(count), from);
}

// The tokens of a window one after the other; divisions take long.
struct Walk : Place {
    int64_t window, column, inside;  // tokens from here to the end of the window, or less than one
    Walk(const Problem &p, int64_t number, int64_t token) : Place(p, number, token), window(p.window) {
        column = token % window;
        inside = window * window - token;
        if (inside < 0) inside = 0;
    }
    void next() {
        if (inside) inside--;
        x++;
        if (++column == window) column = 0, x -= window, y++;
    }
};

static inline __m512i low_half(__m512i a, __m512i b) { return _mm512_unpacklo_epi64(a, b); }
static inline __m512i high_half(__m512i a, __m512i b) { return _mm512_unpackhi_epi64(a, b); }

// Rows become columns: into[c * SIDE + i] = from[i][c].
static void transpose(const uint32_t from[SIDE][SIDE], uint32_t *into) {
    __m512i a[SIDE], b[SIDE];
    for (int i = 0; i < SIDE; i += 2) {
        const __m512i x = _mm512_loadu_si512(from[i]), y = _mm512_loadu_si512(from[i + 1]);
        a[i] = _mm512_unpacklo_epi32(x, y), a[i + 1] = _mm512_unpackhi_epi32(x, y);
    }
    for (int i = 0; i < SIDE; i += 4)  // b[i + c] holds columns c, c + 4, c + 8 and c + 12 of rows i to i + 3
        for (int half = 0; half < 2; half++) {
            b[i + 2 * half] = low_half(a[i + half], a[i + 2 + half]);
            b[i + 2 * half + 1] = high_half(a[i + half], a[i + 2 + half]);
        }
    for (int c = 0; c < 4; c++) {
        const __m512i x = _mm512_shuffle_i32x4(b[c], b[4 + c], 0x88), y = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0x88);
        const __m512i z = _mm512_shuffle_i32x4(b[c], b[4 + c], 0xdd), w = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0xdd);
        _mm512_storeu_si512(into + c * SIDE, _mm512_shuffle_i32x4(x, y, 0x88));
        _mm512_storeu_si512(into + (8 + c) * SIDE, _mm512_shuffle_i32x4(x, y, 0xdd));
        _mm512_storeu_si512(into + (4 + c) * SIDE, _mm512_shuffle_i32x4(z, w, 0x88));
        _mm512_storeu_si512(into + (12 + c) * SIDE, _mm512_shuffle_i32x4(z, w, 0xdd));
    }
}

// All heads of GROUP tokens of a window: queries as scaled rows, keys as pairs (h, m) and (l, h), values as two parts.
static void pack_tiles(const Problem &p, int64_t window, int64_t token) {
    static const float nothing[64] = {};
    const int64_t all = p.heads * p.head_dim, slices = p.wide / SIDE;
    const float scale = LOG2E / __builtin_sqrtf((float)p.head_dim);
    const float *from[GROUP];
    Walk at(p, window, token);
    for (int i = 0; i < GROUP; i++, at.next()) {
        const int64_t there = at.inside ? (at.image * p.height + p.source_y[at.y]) * p.width + p.source_x[at.x] : 0;
        from[i] = at.inside ? p.qkv + there * 3 * all : nullptr;
    }
    for (int64_t head = 0; head < p.heads; head++)
        for (int64_t slice = 0; slice < slices; slice++) {
            const int64_t first = slice * SIDE, count = p.head_dim - first;
            float *queries = packed(p, Q_ROWS, head, window) + token * p.wide + first;
            Vector values[GROUP];
            for (int half = 0; half < 2; half++) {
                uint32_t rows[2][SIDE][SIDE];
                for (int i = 0; i < SIDE; i++) {
                    const int t = half * SIDE + i;
                    const float *start = from[t] ? from[t] + head * p.head_dim + first : nothing;
                    const int64_t step = from[t] ? all : 0;
                    store(queries + t * p.wide, channels(start, count) * scale);
                    const Vector key = channels(start + step, count);
                    const Words high = upper(key);
                    const Vector rest = key - (Vector)high;
                    const Words middle = upper(rest), low = (Words)(rest - (Vector)middle);
                    store(rows[0][i], pair(high, middle));
                    store(rows[1][i], pair(low, high));
                    values[t] = channels(start + 2 * step, count);
                }
                const int64_t at = ((token / SIDE + half) * slices + slice) * WORDS;
                transpose(rows[0], tiles_of(p, K_TILES, head, window) + at);
                transpose(rows[1], tiles_of(p, K_LOW_TILES, head, window) + at);
            }
            uint32_t *into = tiles_of(p, V_TILES, head, window) + (token / GROUP * slices + slice) * 2 * WORDS;
            for (int i = 0; i < SIDE; i++) {
                const Vector a = values[i], b = values[SIDE + i];
                store(into + i * SIDE, pair(nearest(a), nearest(b)));
                const Words low = nearest(a - (Vector)nearest(a)), high = nearest(b - (Vector)nearest(b));
                store(into + WORDS + i * SIDE, pair(low, high));
            }
        }
}

// The bias of a task's queries with the keys from `first` on, in tiles: (TILE_ROWS / SIDE, PANEL / SIDE, SIDE, SIDE).
static void fill_panel(const Problem &p, int64_t head, int64_t row, int64_t first, float *bias) {
    const float *rows = p.term_q + (head * p.tokens + row) * p.rank_wide;
    const float *turned = p.term_k_turned + head * p.rank * p.tokens + first;
    const int64_t count = least(TILE_ROWS, p.tokens - row), keys = least(PANEL, p.tokens - first);
    for (int64_t r = 0; r < count; r += ROWS)
        product(rows + r * p.rank_wide, p.rank_wide, turned, p.tokens, p.rank, nullptr, 0,
                bias + r / SIDE * SIDE * PANEL + r % SIDE * SIDE, SIDE, keys, SIDE);
    for (int64_t r = 0; r < count; r++)
        for (int64_t j = p.window * p.window - first; j < keys; j++)
            bias[r / SIDE * SIDE * PANEL + j / SIDE * WORDS + r % SIDE * SIDE + j % SIDE] = NEVER;
}

// The softmax of SIDE queries as far as it has come.
struct State {
    Vector total[SIDE];
    float top[SIDE];
    int64_t window, row;
    float out[1];  // (SIDE, wide), as the last member of a larger block

    static int64_t floats(const Problem &p) { return sizeof(State) / 4 + SIDE * p.wide; }
    void begin(const Problem &p) {
        for (int r = 0; r < SIDE; r++) total[r] = Vector{}, top[r] = LOWEST;
        memset(out, 0, SIDE * p.wide * sizeof(float));
    }
};

// SIDE queries with a strip of keys, from logits to the sum over values.
struct Strip {
    State *state;
    const uint32_t *k, *k_low, *v;
    const float *bias;
    int64_t groups;  // of keys
    float *scores;
    uint32_t *weights[2], *queries;
};

// What the present strip, the one before and the next one need at hand.
struct alignas(64) Desk {
    float scores[2][SIDE * STRIP];
    uint32_t weights[2][2][SIDE * STRIP / 2], queries[2][4 * 3 * WORDS];
};

// Queries (SIDE, wide) as three left tiles a slice: (h, h), (m, m), (h, l).
static void split_queries(const float *q, int64_t wide, uint32_t *into) {
    for (int64_t slice = 0; slice < wide / SIDE; slice++)
        for (int r = 0; r < SIDE; r++) {
            const Vector x = load(q + r * wide + slice * SIDE);
            const Words high = upper(x);
            const Vector rest = x - (Vector)high;
            const Words middle = upper(rest), low = (Words)(rest - (Vector)middle);
            uint32_t *tile = into + slice * 3 * WORDS + r * SIDE;
            store(tile, pair(high, high));
            store(tile + WORDS, pair(middle, middle));
            store(tile + 2 * WORDS, pair(high, low));
        }
}

// Logits of a strip with its tile-th 16 keys. With one slice, tiles 4 to 6 hold the queries of the whole strip.
static inline void logits(const Strip &strip, int64_t tile, int64_t slices) {
    _tile_loadd(0, strip.bias + tile * WORDS, 64);
    for (int64_t s = 0; s < slices; s++) {
        const uint32_t *q = strip.queries + s * 3 * WORDS;
        const int64_t at = (tile * slices + s) * WORDS;
        if (slices > 1 || tile == 0) {
            _tile_loadd(4, q, 64);
            _tile_loadd(5, q + WORDS, 64);
            _tile_loadd(6, q + 2 * WORDS, 64);
        }
        _tile_loadd(1, strip.k + at, 64);
        _tile_dpbf16ps(0, 4, 1);
        _tile_dpbf16ps(0, 5, 1);
        _tile_loadd(1, strip.k_low + at, 64);
        _tile_dpbf16ps(0, 6, 1);
    }
    _tile_stored(0, strip.scores + tile * SIDE, STRIP * 4);
}

// Add a strip's sum over the values of its group-th 32 keys, in one slice of channels. Tile 7 holds the sum meanwhile.
static inline void add_values(const Strip &strip, int64_t group, int64_t slice, int64_t slices) {
    const uint32_t *values = strip.v + (group * slices + slice) * 2 * WORDS;
    float *out = strip.state->out + slice * SIDE;
    if (group == 0) _tile_loadd(7, out, slices * 64);
    _tile_loadd(2, strip.weights[0] + group * SIDE, STRIP * 2);
    _tile_loadd(3, values, 64);
    _tile_dpbf16ps(7, 2, 3);
    _tile_loadd(1, strip.weights[1] + group * SIDE, STRIP * 2);
    _tile_dpbf16ps(7, 1, 3);
    _tile_loadd(3, values + WORDS, 64);
    _tile_dpbf16ps(7, 2, 3);
    if (group == strip.groups - 1) _tile_stored(7, out, slices * 64);
}

// The r-th of SIDE shares of what the tiles have to do beside a softmax: logits of the next strip, values of the last.
static inline void share(const Strip *last, const Strip *next, int64_t r, int64_t slices) {
    if (next && r < 2 * next->groups) logits(*next, r, slices);
    if (last)
        for (int64_t i = r * last->groups * slices / SIDE; i < (r + 1) * last->groups * slices / SIDE; i++)
            add_values(*last, i % last->groups, i / last->groups, slices);
}

// A row's weights with the i-th 32 keys, in two parts; returns their sums.
static inline Vector exponentials(const Strip &strip, int r, int64_t i, float top) {
    const float *scores = strip.scores + r * STRIP + i * GROUP;
    const Vector a = exp2(load(scores) - top), b = exp2(load(scores + LANES) - top);
    const int64_t at = r * STRIP / 2 + i * SIDE;
    store(strip.weights[0] + at, pair(nearest(a), nearest(b)));
    store(strip.weights[1] + at, pair(nearest(a - (Vector)nearest(a)), nearest(b - (Vector)nearest(b))));
    return a + b;
}

// The i-th of eight parts of `share`, for whole strips: few instructions each, so that they run beside those of vectors.
template <int SLICES>
static inline __attribute__((always_inline)) void step(const Strip *last, const Strip *next, int r, int i) {
    if (next) {
        const uint32_t *q = next->queries, *k = next->k + r * SLICES * WORDS, *k_low = next->k_low + r * SLICES * WORDS;
        if (i == 0) {
            _tile_loadd(0, next->bias + r * WORDS, 64);
            if (SLICES > 1 || r == 0) {
                _tile_loadd(4, q, 64);
                _tile_loadd(5, q + WORDS, 64);
                _tile_loadd(6, q + 2 * WORDS, 64);
            }
            _tile_loadd(1, k, 64);
        }
        if (i == 1) {
            _tile_dpbf16ps(0, 4, 1);
            _tile_dpbf16ps(0, 5, 1);
            _tile_loadd(2, k_low, 64);
        }
        if (i == 2) {
            _tile_dpbf16ps(0, 6, 2);
            if (SLICES > 1) {
                _tile_loadd(4, q + 3 * WORDS, 64);
                _tile_loadd(5, q + 4 * WORDS, 64);
                _tile_loadd(1, k + WORDS, 64);
            }
        }
        if (SLICES > 1 && i == 3) {
            _tile_dpbf16ps(0, 4, 1);
            _tile_dpbf16ps(0, 5, 1);
            _tile_loadd(6, q + 5 * WORDS, 64);
            _tile_loadd(2, k_low + WORDS, 64);
        }
        if (SLICES > 1 && i == 4) _tile_dpbf16ps(0, 6, 2);
        if (i == 5) _tile_stored(0, next->scores + r * SIDE, STRIP * 4);
    }
    if (last && (SLICES > 1 || r % 2)) {
        const int group = SLICES > 1 ? r % 8 : r / 2, slice = SLICES > 1 ? r / 8 : 0;
        const uint32_t *values = last->v + (group * SLICES + slice) * 2 * WORDS;
        float *out = last->state->out + slice * SIDE;
        if (i == 3 && group == 0) _tile_loadd(7, out, SLICES * 64);
        if (i == 4) {
            _tile_loadd(3, last->weights[0] + group * SIDE, STRIP * 2);
            _tile_loadd(1, values, 64);
        }
        if (i == 5) {
            _tile_dpbf16ps(7, 3, 1);
            _tile_loadd(2, last->weights[1] + group * SIDE, STRIP * 2);
        }
        if (i == 6) {
            _tile_dpbf16ps(7, 2, 1);
            _tile_loadd(1, values + WORDS, 64);
        }
        if (i == 7) {
            _tile_dpbf16ps(7, 3, 1);
            if (group == 7) _tile_stored(7, out, SLICES * 64);
        }
    }
}

// Raise the tops of a strip's rows to its logits, and scale down what was summed before. Returns the factors.
static Vector raise(const Strip &strip) {
    State &state = *strip.state;
    float tops[SIDE];
    for (int r = 0; r < SIDE; r++) {
        Vector highest = Vector{} + state.top[r];
        for (int64_t i = 0; i < strip.groups * GROUP; i += LANES)
            highest = (Vector)_mm512_max_ps((__m512)load(strip.scores + r * STRIP + i), (__m512)highest);
        tops[r] = _mm512_reduce_max_ps((__m512)highest);
    }
    const Vector factors = exp2(load(state.top) - load(tops));
    store(state.top, load(tops));
    for (int r = 0; r < SIDE; r++) state.total[r] *= factors[r];
    return factors;
}

// The softmax of a strip, while the tiles compute the logits of the next strip and the values of the last one.
//
// The first strip of a row sets its top, which the others keep: weights far above one are as exact as those below. Only
// where they come near the end of float32 is the top raised.
static void soften(const Strip &strip, const Strip *last, const Strip *next, int64_t slices) {
    const Vector most = Vector{} + 0x1p60f;
    State &state = *strip.state;
    Vector sums[SIDE];
    if (state.top[0] <= LOWEST) raise(strip);
    const bool whole = slices <= 2 && strip.groups == STRIP / GROUP && (!last || last->groups == strip.groups) &&
                       (!next || next->groups == strip.groups);
    for (int r = 0; r < SIDE; r++) {
        sums[r] = Vector{};
        if (whole) {
#pragma GCC unroll 8
            for (int64_t i = 0; i < STRIP / GROUP; i++) {
                sums[r] += exponentials(strip, r, i, state.top[r]);
                slices == 1 ? step<1>(last, next, r, i) : step<2>(last, next, r, i);
            }
        } else {
            for (int64_t i = 0; i < strip.groups; i++) sums[r] += exponentials(strip, r, i, state.top[r]);
            share(last, next, r, slices);
        }
    }
    Vector largest = sums[0];
    for (int r = 1; r < SIDE; r++) largest = sums[r] > largest ? sums[r] : largest;
    if (_mm512_cmp_ps_mask((__m512)largest, (__m512)most, _CMP_GT_OQ)) {
        const Vector factors = raise(strip);
        for (int r = 0; r < SIDE; r++) {
            sums[r] = Vector{};
            for (int64_t i = 0; i < strip.groups; i++) sums[r] += exponentials(strip, r, i, state.top[r]);
        }
        // The sum over values of the strip before is complete by now; that of this strip follows in the next call.
        for (int r = 0; r < SIDE; r++)
            for (int64_t s = 0; s < slices; s++) {
                float *out = state.out + (r * slices + s) * SIDE;
                store(out, load(out) * factors[r]);
            }
    }
    for (int r = 0; r < SIDE; r++) state.total[r] += sums[r];
}

// Divide by the total weight and write what is no padding.
static void finish(const Problem &p, int64_t head, State &state) {
    float *lse = p.lse + (head * windows(p) + state.window) * p.tokens + state.row;
    Walk at(p, state.window, state.row);
    for (int r = 0; r < SIDE; r++, at.next()) {
        const float all = sum(state.total[r]);
        lse[r] = state.top[r] + __builtin_log2f(all);
        if (!at.inside) continue;
        const int64_t y = p.position_y[at.y], x = p.position_x[at.x];
        if (y >= p.height || x >= p.width) continue;
        float *into = p.out + (((at.image * p.height + y) * p.width + x) * p.heads + head) * p.head_dim;
        const Vector share = Vector{} + 1 / all;
        for (int64_t c = 0; c < p.head_dim; c += LANES)
            _mm512_mask_storeu_ps(into + c, lanes_below(p.head_dim - c), (__m512)(load(state.out + r * p.wide + c) * share));
    }
}

// Some windows of a task: their states are begun, advanced panel by panel, and finished.
struct Batch {
    const Problem &p;
    int64_t head, row, states_count = 0;
    float *states;

    State &state(int64_t i) { return *(State *)(states + i * State::floats(p)); }

    void begin(int64_t first, int64_t last) {
        states_count = 0;
        for (int64_t window = first; window < last; window++)
            for (int64_t r = row; r < least(row + TILE_ROWS, p.tokens); r += SIDE) {
                float *lse = p.lse + (head * windows(p) + window) * p.tokens + r;
                if (all_padding(p, window, r, SIDE)) {
                    store(lse, Vector{} - NEVER);
                    continue;
                }
                State &s = state(states_count++);
                s.begin(p);
                s.window = window, s.row = r;
            }
    }

    Strip strip(int64_t index, int64_t first, const float *bias, Desk &desk) {
        const int64_t strips = (least(PANEL, p.tokens - first) + STRIP - 1) / STRIP;
        State &s = state(index / strips);
        const int64_t inside = index % strips * STRIP, key = first + inside;
        Strip all;
        all.state = &s;
        all.k = tiles_of(p, K_TILES, head, s.window) + key * p.wide;
        all.k_low = tiles_of(p, K_LOW_TILES, head, s.window) + key * p.wide;
        all.v = tiles_of(p, V_TILES, head, s.window) + key * p.wide;
        all.bias = bias + (s.row - row) * PANEL + inside * SIDE;
        all.groups = least(STRIP, p.tokens - key) / GROUP;
        all.scores = desk.scores[index % 2];
        all.weights[0] = desk.weights[index % 2][0], all.weights[1] = desk.weights[index % 2][1];
        all.queries = desk.queries[index / strips % 2];
        if (inside == 0) split_queries(packed(p, Q_ROWS, head, s.window) + s.row * p.wide, p.wide, all.queries);
        return all;
    }

    void advance(int64_t first, const float *bias, Desk &desk) {
        const int64_t slices = p.wide / SIDE, strips = (least(PANEL, p.tokens - first) + STRIP - 1) / STRIP;
        const int64_t count = states_count * strips;
        if (!count) return;
        Strip last, now = strip(0, first, bias, desk), next;
        for (int64_t r = 0; r < SIDE; r++) share(nullptr, &now, r, slices);
        for (int64_t i = 0; i < count; i++, last = now, now = next) {
            if (i + 1 < count) next = strip(i + 1, first, bias, desk);
            soften(now, i ? &last : nullptr, i + 1 < count ? &next : nullptr, slices);
        }
        for (int64_t r = 0; r < SIDE; r++) share(&last, nullptr, r, slices);
    }
};

static int forward_by_tiles(const Problem &p) {
    float *bias = allocate(TILE_ROWS * PANEL), *states = allocate(MOST_STATES * State::floats(p));
    Desk *desk = (Desk *)allocate(sizeof(Desk) / 4);
    const int64_t tiles = (p.tokens + TILE_ROWS - 1) / TILE_ROWS, chunks = (windows(p) + p.chunk - 1) / p.chunk;
    configure_tiles();
    for (int64_t index = take(p); bias && states && desk && index < tiles * p.heads * chunks; index = take(p)) {
        Batch batch{p, index / tiles % p.heads, index % tiles * TILE_ROWS, 0, states};
        const int64_t begin = index / tiles / p.heads * p.chunk, end = least(begin + p.chunk, windows(p));
        const int64_t step = MOST_STATES / (TILE_ROWS / SIDE);
        for (int64_t window = begin; window < end; window += step) {
            batch.begin(window, least(window + step, end));
            for (int64_t key = 0; key < p.tokens; key += PANEL) {
                if (p.tokens > PANEL || window == begin) fill_panel(p, batch.head, batch.row, key, bias);
                batch.advance(key, bias, *desk);
            }
            for (int64_t i = 0; i < batch.states_count; i++) finish(p, batch.head, batch.state(i));
        }
    }
    _tile_release();
    const int failed = !bias || !states || !desk;
    free(bias), free(states), free(desk);
    return failed;
}
