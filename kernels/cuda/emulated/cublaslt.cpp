// libcublasLt: products of bf16 matrices with sums in f32, as much of it as Jury uses.
//
// The algorithms are four: two sum the inner dimension in one go and give the same bits, two sum its halves apart, then
// add them (other bits), and need a workspace. As on a card the first choice depends on the shape: from 64 rows on it
// is one that splits. Not emulated: other types, other transpositions, batches, epilogues, factors on the card.
#include "cublaslt.h"
#include "product.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

// Of the emulated libcuda.
extern "C" int jury_emulated_enqueue(void *stream, int (*step)(void *), const void *arguments, size_t bytes);
extern "C" int jury_emulated_has_memory(const void *address, size_t bytes);
extern "C" int jury_emulated_break_down(const char *text);

using namespace emulated;

namespace {

struct Operands {
    const Description *description;
    const Layout *a, *b, *c, *d;
};

Status check_layout(const char *name, const Layout &layout, u64 rows, u64 columns) {
    if (layout.order != 0 || layout.batch != 1) {
        return complain(NOT_SUPPORTED, "%s: only one matrix, by columns, is emulated", name);
    }
    if (layout.rows != rows || layout.columns != columns) {
        return complain(INVALID_VALUE, "%s is %llu x %llu, not %llu x %llu", name, layout.rows, layout.columns, rows,
                        columns);
    }
    if (layout.stride < static_cast<long long>(layout.rows)) {
        return complain(INVALID_VALUE, "%s has columns of %llu, but a leading dimension of %lld", name, layout.rows,
                        layout.stride);
    }
    return SUCCESS;
}

Status check(const Operands &it) {
    for (const void *handle : {static_cast<const void *>(it.description), static_cast<const void *>(it.a),
                               static_cast<const void *>(it.b), static_cast<const void *>(it.c),
                               static_cast<const void *>(it.d)}) {
        if (!is_alive(handle)) {
            return complain(INVALID_VALUE, "a description or layout that is none, or was destroyed");
        }
    }
    const Description &how = *it.description;
    if (how.compute != compute_f32 || how.scale != F32 || how.pointer_mode != 0 || how.epilogue != default_epilogue ||
        how.transpose_a != transposed || how.transpose_b != not_transposed || how.transpose_c != not_transposed) {
        return complain(NOT_SUPPORTED, "only a^T b in f32, with factors of the host, is emulated");
    }
    if (it.a->type != BF16 || it.b->type != BF16 || it.c->type != it.d->type ||
        (it.d->type != BF16 && it.d->type != F32)) {
        return complain(NOT_SUPPORTED, "types %d, %d, %d and %d are not emulated", it.a->type, it.b->type, it.c->type,
                        it.d->type);
    }
    u64 inner = it.a->rows, outputs = it.a->columns, rows = it.b->columns;
    if (inner == 0 || outputs == 0 || rows == 0) {
        return complain(INVALID_VALUE, "a product of no numbers: %llu x %llu x %llu", inner, outputs, rows);
    }
    for (Status status : {check_layout("a", *it.a, inner, outputs), check_layout("b", *it.b, inner, rows),
                          check_layout("c", *it.c, outputs, rows), check_layout("d", *it.d, outputs, rows)}) {
        if (status != SUCCESS) {
            return status;
        }
    }
    return SUCCESS;
}

// The best first, as far as the preference allows them.
int choose(const Operands &it, u64 workspace, bool may_reduce, int most, HeuristicResult *results) {
    u64 outputs = it.a->columns, rows = it.b->columns;
    const Algorithm few[] = {small_tiles, large_tiles, small_tiles_split, large_tiles_split};
    const Algorithm many[] = {large_tiles_split, large_tiles, small_tiles_split, small_tiles};
    int count = 0;
    for (const Algorithm &algorithm : rows < 64 ? few : many) {
        size_t needed = emulated::workspace_for(algorithm.parts, outputs, rows);
        if (count < most && needed <= workspace && (algorithm.parts == 1 || may_reduce)) {
            results[count++] = {algorithm, needed, SUCCESS, 1.0f, {}};
        }
    }
    return count;
}

bool is_algorithm(const Algorithm &algorithm) {
    return algorithm.mark == mark && (algorithm.id == 1 || algorithm.id == 2) && algorithm.parts >= 1 &&
           algorithm.parts <= 16 && (algorithm.parts == 1 || algorithm.reduction == reduced_in_f32);
}

// What a matrix takes from its first number to its last.
size_t bytes_of(size_t rows, size_t columns, size_t stride, size_t number) {
    return ((columns - 1) * stride + rows) * number;
}

int run(void *arguments) {
    const emulated::Product &it = *static_cast<const emulated::Product *>(arguments);
    size_t number = it.wide ? 4 : 2;
    size_t workspace = emulated::workspace_for(it.parts, it.outputs, it.rows);
    if (!jury_emulated_has_memory(it.a, bytes_of(it.inner, it.outputs, it.stride_a, 2)) ||
        !jury_emulated_has_memory(it.b, bytes_of(it.inner, it.rows, it.stride_b, 2)) ||
        (it.beta != 0 && !jury_emulated_has_memory(it.c, bytes_of(it.outputs, it.rows, it.stride_c, number))) ||
        !jury_emulated_has_memory(it.d, bytes_of(it.outputs, it.rows, it.stride_d, number)) ||
        (workspace != 0 && !jury_emulated_has_memory(it.workspace, workspace))) {
        char text[160];
        snprintf(text, sizeof text, "a product of %zu x %zu x %zu (outputs, rows, inner) lies in no allocation",
                 it.outputs, it.rows, it.inner);
        return jury_emulated_break_down(text);
    }
    emulated::multiply(it);
    return 0;
}

bool is_aligned(const void *address) { return reinterpret_cast<u64>(address) % 16 == 0; }

} // namespace

EXPORT Status cublasLtCreate(int **handle) { return create(handle, 0); }
EXPORT Status cublasLtDestroy(int *handle) { return destroy(handle); }
EXPORT size_t cublasLtGetVersion() { return 130000; }
EXPORT size_t cublasLtGetCudartVersion() { return 13000; }

EXPORT const char *cublasLtGetStatusName(Status status) {
    switch (status) {
    case SUCCESS:
        return "CUBLAS_STATUS_SUCCESS";
    case NOT_INITIALIZED:
        return "CUBLAS_STATUS_NOT_INITIALIZED";
    case ALLOC_FAILED:
        return "CUBLAS_STATUS_ALLOC_FAILED";
    case INVALID_VALUE:
        return "CUBLAS_STATUS_INVALID_VALUE";
    case EXECUTION_FAILED:
        return "CUBLAS_STATUS_EXECUTION_FAILED";
    case NOT_SUPPORTED:
        return "CUBLAS_STATUS_NOT_SUPPORTED";
    }
    return "unknown";
}
EXPORT const char *cublasLtGetStatusString(Status status) { return cublasLtGetStatusName(status); }

EXPORT Status cublasLtMatmulDescCreate(Description **handle, int compute, int scale) {
    Description made = {};
    made.compute = compute;
    made.scale = scale;
    return create(handle, made);
}
EXPORT Status cublasLtMatmulDescDestroy(Description *handle) { return destroy(handle); }
EXPORT Status cublasLtMatmulDescSetAttribute(Description *handle, int attribute, const void *from, size_t bytes) {
    return is_alive(handle) ? set(handle, description_fields, attribute, from, bytes) : INVALID_VALUE;
}
EXPORT Status cublasLtMatmulDescGetAttribute(Description *handle, int attribute, void *to, size_t bytes,
                                             size_t *written) {
    return is_alive(handle) ? get(handle, description_fields, attribute, to, bytes, written) : INVALID_VALUE;
}

EXPORT Status cublasLtMatrixLayoutCreate(Layout **handle, int type, u64 rows, u64 columns, long long stride) {
    Layout made = {};
    made.type = type;
    made.rows = rows;
    made.columns = columns;
    made.stride = stride;
    return create(handle, made);
}
EXPORT Status cublasLtMatrixLayoutDestroy(Layout *handle) { return destroy(handle); }
EXPORT Status cublasLtMatrixLayoutSetAttribute(Layout *handle, int attribute, const void *from, size_t bytes) {
    return is_alive(handle) ? set(handle, layout_fields, attribute, from, bytes) : INVALID_VALUE;
}
EXPORT Status cublasLtMatrixLayoutGetAttribute(Layout *handle, int attribute, void *to, size_t bytes, size_t *written) {
    return is_alive(handle) ? get(handle, layout_fields, attribute, to, bytes, written) : INVALID_VALUE;
}

EXPORT Status cublasLtMatmulPreferenceCreate(Preference **handle) { return create(handle, Preference()); }
EXPORT Status cublasLtMatmulPreferenceDestroy(Preference *handle) { return destroy(handle); }
EXPORT Status cublasLtMatmulPreferenceSetAttribute(Preference *handle, int attribute, const void *from, size_t bytes) {
    return is_alive(handle) ? set(handle, preference_fields, attribute, from, bytes) : INVALID_VALUE;
}
EXPORT Status cublasLtMatmulPreferenceGetAttribute(Preference *handle, int attribute, void *to, size_t bytes,
                                                   size_t *written) {
    return is_alive(handle) ? get(handle, preference_fields, attribute, to, bytes, written) : INVALID_VALUE;
}

EXPORT Status cublasLtMatmulAlgoConfigGetAttribute(const Algorithm *algorithm, int attribute, void *to, size_t bytes,
                                                   size_t *written) {
    return algorithm != nullptr && algorithm->mark == mark
               ? get(algorithm, algorithm_fields, attribute, to, bytes, written)
               : INVALID_VALUE;
}
EXPORT Status cublasLtMatmulAlgoConfigSetAttribute(Algorithm *algorithm, int attribute, const void *from,
                                                   size_t bytes) {
    return algorithm != nullptr && algorithm->mark == mark ? set(algorithm, algorithm_fields, attribute, from, bytes)
                                                           : INVALID_VALUE;
}

EXPORT Status cublasLtMatmulAlgoGetIds(int *, int, int, int, int, int, int, int most, int *ids, int *count) {
    *count = std::clamp(most, 0, 2);
    for (int number = 0; number < *count; number++) {
        ids[number] = number + 1;
    }
    return SUCCESS;
}
EXPORT Status cublasLtMatmulAlgoInit(int *, int, int, int, int, int, int, int id, Algorithm *algorithm) {
    *algorithm = id == 1 ? large_tiles : small_tiles;
    return id == 1 || id == 2 ? SUCCESS : INVALID_VALUE;
}

EXPORT Status cublasLtMatmulAlgoGetHeuristic(int *handle, const Description *description, const Layout *a,
                                             const Layout *b, const Layout *c, const Layout *d,
                                             const Preference *preference, int most, HeuristicResult *results,
                                             int *count) {
    if (!is_alive(handle) || !is_alive(preference) || most < 1) {
        return INVALID_VALUE;
    }
    Operands operands = {description, a, b, c, d};
    if (Status status = check(operands)) {
        return status;
    }
    if ((preference->reductions & ~reduced_in_f32) != 0 && d->type != F32) {
        return complain(NOT_SUPPORTED, "parts of sums may be added up in bfloat16: reductions %u", preference->reductions);
    }
    *count = choose(operands, preference->workspace, preference->reductions != 0, most, results);
    return *count > 0 ? SUCCESS : NOT_SUPPORTED;
}

EXPORT Status cublasLtMatmulAlgoCheck(int *handle, const Description *description, const Layout *a, const Layout *b,
                                      const Layout *c, const Layout *d, const Algorithm *algorithm,
                                      HeuristicResult *result) {
    if (!is_alive(handle) || algorithm == nullptr || !is_algorithm(*algorithm)) {
        return INVALID_VALUE;
    }
    if (Status status = check({description, a, b, c, d})) {
        return status;
    }
    *result = {*algorithm, emulated::workspace_for(algorithm->parts, a->columns, b->columns), SUCCESS, 1.0f, {}};
    return SUCCESS;
}

EXPORT Status cublasLtMatmul(int *handle, const Description *description, const float *alpha, const void *a,
                             const Layout *layout_a, const void *b, const Layout *layout_b, const float *beta,
                             const void *c, const Layout *layout_c, void *d, const Layout *layout_d,
                             const Algorithm *algorithm, void *workspace, size_t workspace_bytes, void *stream) {
    if (!is_alive(handle)) {
        return NOT_INITIALIZED;
    }
    Operands operands = {description, layout_a, layout_b, layout_c, layout_d};
    if (Status status = check(operands)) {
        return status;
    }
    if (alpha == nullptr || beta == nullptr || a == nullptr || b == nullptr || d == nullptr || !is_aligned(a) ||
        !is_aligned(b) || !is_aligned(c) || !is_aligned(d) || !is_aligned(workspace)) {
        return complain(INVALID_VALUE, "an address that is null, or no multiple of 16");
    }
    HeuristicResult chosen;
    if (algorithm == nullptr) {
        choose(operands, workspace_bytes, true, 1, &chosen);
        algorithm = &chosen.algorithm;
    }
    u64 outputs = layout_a->columns, rows = layout_b->columns;
    if (!is_algorithm(*algorithm)) {
        return complain(INVALID_VALUE, "an algorithm that is none");
    }
    size_t needed = emulated::workspace_for(algorithm->parts, outputs, rows);
    // No complaint: whoever has less memory than an algorithm takes may ask for it and be refused.
    if (needed > workspace_bytes || (needed > 0 && workspace == nullptr)) {
        return INVALID_VALUE;
    }
    if (*beta != 0 && c == d && layout_c->stride != layout_d->stride) {
        return complain(INVALID_VALUE, "c and d are one memory with two leading dimensions");
    }
    emulated::Product product = {a, b, c, d, layout_a->rows, outputs, rows, static_cast<size_t>(layout_a->stride),
                                 static_cast<size_t>(layout_b->stride), static_cast<size_t>(layout_c->stride),
                                 static_cast<size_t>(layout_d->stride), *alpha, *beta, layout_d->type == F32,
                                 algorithm->parts, static_cast<float *>(workspace)};
    return jury_emulated_enqueue(stream, run, &product, sizeof product) == 0 ? SUCCESS : EXECUTION_FAILED;
}
