// Window attention and its gradients in float32 on a CPU, compiled for the very processor by build.py.
//
// Windows are read from the map (B, H, W, 3C) through index tables, which hold reflection and shift, and packed once.
// A task is a tile of rows of one head (queries; keys for their gradients), whose positional bias is computed once and
// serves a chunk of windows in turn: no (N, N) matrix is ever stored. Logits are to base 2; threads take tasks from a
// common counter until none is left. Where the processor has AMX, tiles.h computes the forward pass.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
constexpr int LANES = 16, ROWS = 8;
#elif defined(__AVX__)
constexpr int LANES = 8, ROWS = 4;
#elif defined(__aarch64__)
constexpr int LANES = 4, ROWS = 8;
#else
constexpr int LANES = 4, ROWS = 4;
#endif
constexpr int STEP = 2 * LANES;  // columns of a product at a time; `tokens` is a multiple of it
constexpr int BLOCK = 256;       // columns between two updates of the softmax, so that logits stay in the first cache
constexpr int TILE = 32;         // rows of a task, without AMX
constexpr float NEVER = -1e30f;  // the logit of a key that is none
constexpr float LOG2E = 1.44269504088896341f;

typedef float Vector __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));
typedef int32_t Integers __attribute__((vector_size(LANES * sizeof(int32_t)), aligned(4)));

// What is packed: (tokens, wide) by rows, or turned, (head_dim, tokens).
enum Packed { Q_ROWS, K_TURNED, V_ROWS, Q_TURNED, K_ROWS, V_TURNED, D_ROWS, D_TURNED };
enum { K_TILES = K_TURNED, V_TILES = V_ROWS, K_LOW_TILES = Q_TURNED };  // what tiles.h packs instead

extern "C" struct Problem {
    const float *qkv;                                            // (B, H, W, 3C)
    const float *term_q, *term_k, *term_q_turned, *term_k_turned;  // (heads, tokens, rank_wide), (heads, rank, tokens)
    float *out, *lse;                                            // (B, H, W, C), (heads, M, tokens)
    const float *grad;                                           // of out
    float *delta, *d_qkv;                                        // as lse, (B, rows * w, columns * w, 3C)
    float *d_term;                                               // (chunks, heads, tokens, rank_wide)
    float *packed;                                               // (kinds, heads, M, tokens * wide)
    const int32_t *source_y, *source_x;      // of the padded map's rows and columns: which pixel of the map is there
    const int32_t *position_y, *position_x;  // and at which row and column of the unshifted padded map it belongs
    int64_t *next;                           // the counter of tasks, 0 at first
    int64_t batch, height, width, heads, head_dim, rank, window, rows, columns;
    int64_t tokens, wide, rank_wide, chunk;  // w * w and sizes, rounded up; windows in a chunk
};

static inline Vector load(const float *p) { return *(const Vector *)p; }
static inline void store(float *p, Vector v) { *(Vector *)p = v; }
static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// 2^x for x <= 0 within 1e-7: 2^round(x) times a polynomial on [-1/2, 1/2]. What is not a number stays so.
static inline Vector exp2(Vector x) {
    const Vector smallest = Vector{} - 126.0f, magic = Vector{} + 12582912.0f;
#if !defined(__AVX512F__)
    x = x < smallest ? smallest : x;
#endif
    Vector whole = x + magic;
    Vector f = x - (whole - magic);
    Vector y = 1.3267e-3f * f + 9.67546e-3f;
    y = y * f + 5.550743e-2f;
    y = y * f + 2.4022122e-1f;
    y = y * f + 6.9314695e-1f;
    y = y * f + 1.0f;
#if defined(__AVX512F__)
    return (Vector)_mm512_scalef_ps((__m512)y, (__m512)(whole - magic));
#else
    return (Vector)((Integers)y + ((Integers)whole << 23));  // through the exponent's bits
#endif
}

static inline float exp2(float x) { return exp2(Vector{} + x)[0]; }

static inline float sum(Vector v) {
    float total = 0;
    for (int i = 0; i < LANES; i++) total += v[i];
    return total;
}

// out (ROWS, count) = a (ROWS, depth) b (depth, count) + start; b's rows are `tokens` apart. start may be null. Columns
// of out are `out_step` apart, LANES at a time.
static void product(const float *a, int64_t a_stride, const float *b, int64_t tokens, int64_t depth, const float *start,
                    int64_t start_stride, float *out, int64_t out_stride, int64_t count, int64_t out_step = 1) {
    for (int64_t j = 0; j < count; j += STEP) {
        Vector left[ROWS], right[ROWS];
        for (int r = 0; r < ROWS; r++) {
            left[r] = start ? load(start + r * start_stride + j) : Vector{};
            right[r] = start ? load(start + r * start_stride + j + LANES) : Vector{};
        }
        for (int64_t c = 0; c < depth; c++) {
            const Vector x = load(b + c * tokens + j), y = load(b + c * tokens + j + LANES);
            for (int r = 0; r < ROWS; r++) {
                left[r] += x * a[r * a_stride + c];
                right[r] += y * a[r * a_stride + c];
            }
        }
        for (int r = 0; r < ROWS; r++) {
            store(out + r * out_stride + j * out_step, left[r]);
            store(out + r * out_stride + (j + LANES) * out_step, right[r]);
        }
    }
}

template <int COUNT>
static void accumulate_vectors(const float *a, int64_t a_stride, const float *b, int64_t wide, int64_t count, float *out) {
    Vector sums[ROWS][COUNT];
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < COUNT; v++) sums[r][v] = load(out + r * wide + v * LANES);
    for (int64_t j = 0; j < count; j++)
        for (int v = 0; v < COUNT; v++) {
            const Vector x = load(b + j * wide + v * LANES);
            for (int r = 0; r < ROWS; r++) sums[r][v] += x * a[r * a_stride + j];
        }
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < COUNT; v++) store(out + r * wide + v * LANES, sums[r][v]);
}

// out (ROWS, wide) += a (ROWS, count) b (count, wide).
static void accumulate(const float *a, int64_t a_stride, const float *b, int64_t wide, int64_t count, float *out) {
    int64_t v = 0;
    for (; v + STEP <= wide; v += STEP) accumulate_vectors<2>(a, a_stride, b + v, wide, count, out + v);
    if (v < wide) accumulate_vectors<1>(a, a_stride, b + v, wide, count, out + v);
}

static int64_t windows(const Problem &p) { return p.batch * p.rows * p.columns; }

static float *packed(const Problem &p, int kind, int64_t head, int64_t window) {
    return p.packed + ((kind * p.heads + head) * windows(p) + window) * p.tokens * p.wide;
}

// Where a token of a window lies in the padded map.
struct Place {
    int64_t image, y, x;
    Place(const Problem &p, int64_t window, int64_t token) {
        image = window / (p.rows * p.columns);
        y = window / p.columns % p.rows * p.window + token / p.window;
        x = window % p.columns * p.window + token % p.window;
    }
};

// Offset of a token's pixel among those of a map (B, H, W), or -1 where padding lies.
static int64_t pixel(const Problem &p, int64_t window, int64_t token) {
    if (token >= p.window * p.window) return -1;
    const Place at(p, window, token);
    const int64_t y = p.position_y[at.y], x = p.position_x[at.x];
    return y < p.height && x < p.width ? (at.image * p.height + y) * p.width + x : -1;
}

static bool all_padding(const Problem &p, int64_t window, int64_t token, int rows) {
    for (int r = 0; r < rows; r++)
        if (pixel(p, window, token + r) >= 0) return false;
    return true;
}

// The channels of LANES tokens, `from` each, into packed rows and packed columns, either of which may be null.
static void put(const Problem &p, const float *const *from, float scale, int64_t token, float *rows, float *turned) {
    for (int i = 0; rows && i < LANES; i++) {
        float *row = rows + (token + i) * p.wide;
        for (int64_t c = 0; c < p.head_dim; c++) row[c] = from[i][c] * scale;
        for (int64_t c = p.head_dim; c < p.wide; c++) row[c] = 0.0f;
    }
    for (int64_t c = 0; turned && c < p.head_dim; c++) {
        Vector values;
        for (int i = 0; i < LANES; i++) values[i] = from[i][c];
        store(turned + c * p.tokens + token, values * scale);
    }
}

// All heads of LANES tokens of a window. What is no token, and the gradient of what is cropped, is zero.
static void pack_tokens(const Problem &p, int64_t window, int64_t token) {
    static const float nothing[64] = {};
    const int64_t channels = p.heads * p.head_dim;
    const float *from[LANES], *grads[LANES], *outs[LANES];
    for (int i = 0; i < LANES; i++) {
        from[i] = grads[i] = outs[i] = nullptr;
        if (token + i >= p.window * p.window) continue;
        const Place at(p, window, token + i);
        from[i] = p.qkv + ((at.image * p.height + p.source_y[at.y]) * p.width + p.source_x[at.x]) * 3 * channels;
        const int64_t there = p.grad ? pixel(p, window, token + i) : -1;
        if (there >= 0) grads[i] = p.grad + there * channels, outs[i] = p.out + there * channels;
    }
    for (int64_t head = 0; head < p.heads; head++) {
        float *into[8];
        for (int kind = 0; kind < 8; kind++)
            into[kind] = kind < 3 || p.grad ? packed(p, kind, head, window) : nullptr;
        const int rows[4] = {Q_ROWS, K_ROWS, V_ROWS, D_ROWS}, turned[4] = {Q_TURNED, K_TURNED, V_TURNED, D_TURNED};
        for (int what = 0; what < (p.grad ? 4 : 3); what++) {
            const float *heads[LANES];
            for (int i = 0; i < LANES; i++) {
                const float *start = what < 3 ? from[i] : grads[i];
                heads[i] = start ? start + (what < 3 ? what : 0) * channels + head * p.head_dim : nothing;
            }
            const float scale = what == 0 ? LOG2E / __builtin_sqrtf((float)p.head_dim) : 1.0f;
            put(p, heads, scale, token, into[rows[what]], into[turned[what]]);
        }
        for (int i = 0; p.grad && i < LANES; i++) {
            float delta = 0.0f;
            for (int64_t c = head * p.head_dim; grads[i] && c < (head + 1) * p.head_dim; c++)
                delta += grads[i][c] * outs[i][c];
            p.delta[(head * windows(p) + window) * p.tokens + token + i] = delta;
        }
    }
}

// The bias of TILE rows from `row` on with all columns, (TILE, tokens), to base 2.
static void fill_bias(const Problem &p, const float *rows, const float *turned, int64_t row, float *bias) {
    const int64_t count = least(TILE, p.tokens - row);
    for (int64_t r = 0; r < count; r += ROWS)
        product(rows + (row + r) * p.rank_wide, p.rank_wide, turned, p.tokens, p.rank, nullptr, 0, bias + r * p.tokens,
                p.tokens, p.tokens);
    for (int64_t r = 0; r < count; r++)
        for (int64_t j = p.window * p.window; j < p.tokens; j++) bias[r * p.tokens + j] = NEVER;
}

// Softmax and sum over values for ROWS queries: out (ROWS, wide) and the log-sum-exp of each.
static void attend(const Problem &p, const float *q, const float *k, const float *v, const float *bias, float *out,
                   float *lse) {
    float scores[ROWS * BLOCK], top[ROWS];
    Vector total[ROWS];
    for (int r = 0; r < ROWS; r++) total[r] = Vector{}, top[r] = -3e38f;
    memset(out, 0, ROWS * p.wide * sizeof(float));
    for (int64_t j = 0; j < p.tokens; j += BLOCK) {
        const int64_t count = least(BLOCK, p.tokens - j);
        product(q, p.wide, k + j, p.tokens, p.head_dim, bias + j, p.tokens, scores, BLOCK, count);
        for (int r = 0; r < ROWS; r++) {
            float *row = scores + r * BLOCK;
            Vector highest = load(row);
            for (int64_t i = LANES; i < count; i += LANES) {
                const Vector s = load(row + i);
                highest = s > highest ? s : highest;
            }
            float now = top[r];
            for (int i = 0; i < LANES; i++) now = highest[i] > now ? highest[i] : now;
            if (now > top[r]) {
                const float factor = exp2(top[r] - now);
                total[r] *= factor;
                for (int64_t c = 0; c < p.wide; c++) out[r * p.wide + c] *= factor;
                top[r] = now;
            }
            Vector added = Vector{};
            for (int64_t i = 0; i < count; i += LANES) {
                const Vector e = exp2(load(row + i) - now);
                store(row + i, e);
                added += e;
            }
            total[r] += added;
        }
        accumulate(scores, BLOCK, v + j * p.wide, p.wide, count, out);
    }
    for (int r = 0; r < ROWS; r++) {
        const float all = sum(total[r]);
        for (int64_t c = 0; c < p.wide; c++) out[r * p.wide + c] /= all;
        lse[r] = top[r] + __builtin_log2f(all);
    }
}

static int64_t take(const Problem &p) { return __atomic_fetch_add(p.next, 1, __ATOMIC_RELAXED); }

static float *allocate(int64_t floats) { return (float *)aligned_alloc(64, (floats * sizeof(float) + 63) / 64 * 64); }

#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AVX512F__) && defined(__linux__)
#include "tiles.h"
#else
constexpr int GROUP = STEP, TILE_ROWS = TILE;
static bool tiles_allowed() { return false; }
static void pack_tiles(const Problem &, int64_t, int64_t) {}
static int forward_by_tiles(const Problem &) { return 1; }
#endif

struct Task {
    int64_t head, row, first, last, chunk;
    Task(const Problem &p, int64_t index) {
        const int64_t tiles = (p.tokens + TILE - 1) / TILE;
        row = index % tiles * TILE;
        head = index / tiles % p.heads;
        chunk = index / tiles / p.heads;
        first = chunk * p.chunk;
        last = least(first + p.chunk, windows(p));
    }
};

static int64_t tasks(const Problem &p) {
    return (p.tokens + TILE - 1) / TILE * p.heads * ((windows(p) + p.chunk - 1) / p.chunk);
}

extern "C" int64_t lanes() { return LANES; }

// Of packed tensors, as many as `forward` needs.
extern "C" int64_t forward_kinds() { return tiles_allowed() ? 4 : 3; }

// Tokens of a task.
extern "C" int64_t forward_rows() { return tiles_allowed() ? TILE_ROWS : TILE; }
extern "C" int64_t backward_rows() { return TILE; }

// Every function returns 0, or 1 where memory ran out.
extern "C" int pack(const Problem *problem) {
    const Problem &p = *problem;
    const int64_t blocks = (p.tokens + BLOCK - 1) / BLOCK;
#if defined(__linux__)  // new memory in large pages: a fault for each small one takes as long as the copying
    const uintptr_t page = 1 << 21, start = ((uintptr_t)p.packed + page - 1) / page * page;
    const uintptr_t end = (uintptr_t)packed(p, p.grad ? 8 : forward_kinds(), 0, 0);
    if (start < end) madvise((void *)start, end - start, MADV_HUGEPAGE);
#endif
    for (int64_t i = take(p); i < windows(p) * blocks; i = take(p)) {
        const int64_t first = i % blocks * BLOCK;
        const bool tiles = !p.grad && tiles_allowed();
        for (int64_t token = first; token < least(first + BLOCK, p.tokens); token += tiles ? GROUP : LANES)
            (tiles ? pack_tiles : pack_tokens)(p, i / blocks, token);
    }
    return 0;
}

extern "C" int forward(const Problem *problem) {
    const Problem &p = *problem;
    if (tiles_allowed()) return forward_by_tiles(p);
    float *bias = allocate(TILE * p.tokens), *out = allocate(ROWS * p.wide);
    for (int64_t index = take(p); bias && out && index < tasks(p); index = take(p)) {
        const Task task(p, index);
        fill_bias(p, p.term_q + task.head * p.tokens * p.rank_wide, p.term_k_turned + task.head * p.rank * p.tokens,
                  task.row, bias);
        for (int64_t window = task.first; window < task.last; window++) {
            const float *q = packed(p, Q_ROWS, task.head, window), *k = packed(p, K_TURNED, task.head, window);
            const float *v = packed(p, V_ROWS, task.head, window);
            for (int64_t r = 0; r < least(TILE, p.tokens - task.row); r += ROWS) {
                const int64_t row = task.row + r;
                float *lse = p.lse + (task.head * windows(p) + window) * p.tokens + row;
                if (all_padding(p, window, row, ROWS)) {
                    for (int i = 0; i < ROWS; i++) lse[i] = -NEVER;
                    continue;
                }
                attend(p, q + row * p.wide, k, v, bias + r * p.tokens, out, lse);
                for (int i = 0; i < ROWS; i++) {
                    const int64_t there = pixel(p, window, row + i);
                    if (there >= 0)
                        memcpy(p.out + (there * p.heads + task.head) * p.head_dim, out + i * p.wide,
                               p.head_dim * sizeof(float));
                }
            }
        }
    }
    const int failed = !bias || !out;
    free(bias), free(out);
    return failed;
}

// A row's gradient, scaled, into one third of the channels of the padded map.
static void write_gradient(const Problem &p, int64_t head, int64_t window, int64_t token, int third, float scale,
                           const float *gradient) {
    if (token >= p.window * p.window) return;
    const Place at(p, window, token);
    const int64_t y = p.position_y[at.y], x = p.position_x[at.x];
    const int64_t there = (at.image * p.rows * p.window + y) * p.columns * p.window + x;
    float *into = p.d_qkv + ((there * 3 + third) * p.heads + head) * p.head_dim;
    for (int64_t c = 0; c < p.head_dim; c++) into[c] = gradient[c] * scale;
}

// What the rows of a task are: queries against all keys (gradients of q), or keys against all queries (of k and v).
template <bool KEYS>
static void differentiate(const Problem &p, int64_t head, int64_t window, int64_t row, const float *bias, float *d_bias) {
    const float *a = packed(p, KEYS ? K_ROWS : Q_ROWS, head, window) + row * p.wide;
    const float *b = packed(p, KEYS ? Q_TURNED : K_TURNED, head, window);
    const float *d_a = packed(p, KEYS ? V_ROWS : D_ROWS, head, window) + row * p.wide;
    const float *d_b = packed(p, KEYS ? D_TURNED : V_TURNED, head, window);
    const float *others = packed(p, KEYS ? Q_ROWS : K_ROWS, head, window);
    const float *grads = packed(p, D_ROWS, head, window);
    const float *lse = p.lse + (head * windows(p) + window) * p.tokens;
    const float *delta = p.delta + (head * windows(p) + window) * p.tokens;
    float weights[ROWS * BLOCK], logits[ROWS * BLOCK], sums[2][ROWS * 64] = {};
    for (int64_t j = 0; j < p.tokens; j += BLOCK) {
        const int64_t count = least(BLOCK, p.tokens - j);
        product(a, p.wide, b + j, p.tokens, p.head_dim, bias + j, p.tokens, weights, BLOCK, count);
        product(d_a, p.wide, d_b + j, p.tokens, p.head_dim, nullptr, 0, logits, BLOCK, count);
        for (int r = 0; r < ROWS; r++)
            for (int64_t i = 0; i < count; i += LANES) {
                const Vector shift = KEYS ? load(lse + j + i) : Vector{} + lse[row + r];
                const Vector mean = KEYS ? load(delta + j + i) : Vector{} + delta[row + r];
                const Vector weight = exp2(load(weights + r * BLOCK + i) - shift);
                const Vector d_logit = weight * (load(logits + r * BLOCK + i) - mean);
                float *d = d_bias + r * p.tokens + j + i;
                store(d, load(d) + d_logit);
                store(weights + r * BLOCK + i, weight);
                store(logits + r * BLOCK + i, d_logit);
            }
        accumulate(logits, BLOCK, others + j * p.wide, p.wide, count, sums[0]);
        if (KEYS) accumulate(weights, BLOCK, grads + j * p.wide, p.wide, count, sums[1]);
    }
    for (int r = 0; r < ROWS; r++) {
        const float scale = KEYS ? 1 / LOG2E : 1 / __builtin_sqrtf((float)p.head_dim);
        write_gradient(p, head, window, row + r, KEYS ? 1 : 0, scale, sums[0] + r * p.wide);
        if (KEYS) write_gradient(p, head, window, row + r, 2, 1.0f, sums[1] + r * p.wide);
    }
}

template <bool KEYS>
static int backward(const Problem &p) {
    float *bias = allocate(TILE * p.tokens), *d_bias = allocate(TILE * p.tokens);
    for (int64_t index = take(p); bias && d_bias && index < tasks(p); index = take(p)) {
        const Task task(p, index);
        const int64_t by_rows = task.head * p.tokens * p.rank_wide, turned = task.head * p.rank * p.tokens;
        fill_bias(p, (KEYS ? p.term_k : p.term_q) + by_rows, (KEYS ? p.term_q_turned : p.term_k_turned) + turned,
                  task.row, bias);
        memset(d_bias, 0, TILE * p.tokens * sizeof(float));
        const int64_t count = least(TILE, p.tokens - task.row);
        for (int64_t window = task.first; window < task.last; window++)
            for (int64_t r = 0; r < count; r += ROWS)
                differentiate<KEYS>(p, task.head, window, task.row + r, bias + r * p.tokens, d_bias + r * p.tokens);
        float *into = p.d_term + ((task.chunk * p.heads + task.head) * p.tokens + task.row) * p.rank_wide;
        memset(into, 0, count * p.rank_wide * sizeof(float));
        for (int64_t r = 0; r < count && p.rank; r += ROWS)
            accumulate(d_bias + r * p.tokens, p.tokens, (KEYS ? p.term_q : p.term_k) + by_rows, p.rank_wide, p.tokens,
                       into + r * p.rank_wide);
    }
    const int failed = !bias || !d_bias;
    free(bias), free(d_bias);
    return failed;
}

extern "C" int backward_queries(const Problem *problem) { return backward<false>(*problem); }
extern "C" int backward_keys(const Problem *problem) { return backward<true>(*problem); }
