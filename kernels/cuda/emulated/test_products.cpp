// Tests of cuBLASLt: both ways to sum, both types of results, and what is refused.
#include "../machine.cuh"
#include "product.h"
#include "test.h"
#include <algorithm>
#include <string.h>

extern "C" {
int cublasLtCreate(void **);
int cublasLtDestroy(void *);
int cublasLtMatmulDescCreate(void **, int, int);
int cublasLtMatmulDescSetAttribute(void *, int, const void *, size_t);
int cublasLtMatmulDescDestroy(void *);
int cublasLtMatrixLayoutCreate(void **, int, unsigned long long, unsigned long long, long long);
int cublasLtMatrixLayoutDestroy(void *);
int cublasLtMatmulPreferenceCreate(void **);
int cublasLtMatmulPreferenceSetAttribute(void *, int, const void *, size_t);
int cublasLtMatmulPreferenceDestroy(void *);
int cublasLtMatmulAlgoGetHeuristic(void *, void *, void *, void *, void *, void *, void *, int, void *, int *);
int cublasLtMatmulAlgoConfigGetAttribute(const void *, int, void *, size_t, size_t *);
int cublasLtMatmul(void *, void *, const float *, const void *, void *, const void *, void *, const float *,
                   const void *, void *, void *, void *, const void *, void *, size_t, Stream *);
}

namespace emulated {
namespace {

constexpr int type_f32 = 0, type_bf16 = 14, invalid_value = 7, not_supported = 15;

// As large as cublasLtMatmulHeuristicResult_t.
struct Choice {
    u64 algorithm[8];
    size_t workspace;
    int state;
    float waves;
    int reserved[4];

    u32 parts() const {
        u32 parts;
        size_t written;
        CHECK_OK(cublasLtMatmulAlgoConfigGetAttribute(algorithm, 2, &parts, sizeof parts, &written));
        CHECK(written == sizeof parts);
        return parts;
    }
};

float number_of(u32 at) { return static_cast<float>(at * 2654435761u >> 8) / 16777216.0f - 0.5f; }

class Case {
  public:
    Case(u32 rows, u32 outputs, u32 inner, int type)
        : rows(rows), outputs(outputs), inner(inner), type(type), weights(outputs * inner), inputs(rows * inner) {
        CHECK_OK(cublasLtCreate(&handle));
        CHECK_OK(cublasLtMatmulDescCreate(&description, 68, type_f32));
        int transposed = 1;
        CHECK_OK(cublasLtMatmulDescSetAttribute(description, 3, &transposed, sizeof transposed));
        CHECK_OK(cublasLtMatrixLayoutCreate(&layout_a, type_bf16, inner, outputs, inner));
        CHECK_OK(cublasLtMatrixLayoutCreate(&layout_b, type_bf16, inner, rows, inner));
        CHECK_OK(cublasLtMatrixLayoutCreate(&layout_d, type, outputs, rows, outputs));
        CHECK_OK(cublasLtMatmulPreferenceCreate(&preference));
        size_t most = workspace_bytes;
        CHECK_OK(cublasLtMatmulPreferenceSetAttribute(preference, 1, &most, sizeof most));
        for (u32 at = 0; at < weights.size(); at++) {
            weights[at] = to_bf16(number_of(at));
        }
        for (u32 at = 0; at < inputs.size(); at++) {
            inputs[at] = to_bf16(number_of(at + 77));
        }
        a = upload(weights.data(), weights.size() * 2);
        b = upload(inputs.data(), inputs.size() * 2);
        d = card.allocate(rows * outputs * size());
        workspace = card.allocate(workspace_bytes);
    }
    ~Case() {
        CHECK_OK(cublasLtMatmulPreferenceDestroy(preference));
        for (void *layout : {layout_a, layout_b, layout_d}) {
            CHECK_OK(cublasLtMatrixLayoutDestroy(layout));
        }
        CHECK_OK(cublasLtMatmulDescDestroy(description));
        CHECK_OK(cublasLtDestroy(handle));
    }

    std::vector<Choice> choices() {
        std::vector<Choice> found(8);
        int count;
        CHECK_OK(cublasLtMatmulAlgoGetHeuristic(handle, description, layout_a, layout_b, layout_d, layout_d,
                                                preference, 8, found.data(), &count));
        found.resize(count);
        return found;
    }
    Choice first(u32 parts) {
        std::vector<Choice> all = choices();
        auto found = std::find_if(all.begin(), all.end(), [&](const Choice &it) { return it.parts() == parts; });
        CHECK(found != all.end());
        return *found;
    }
    int multiply(const Choice &choice, float beta, size_t bytes = workspace_bytes, Stream *stream = nullptr) {
        float alpha = 1;
        void *at = reinterpret_cast<void *>(d);
        return cublasLtMatmul(handle, description, &alpha, reinterpret_cast<void *>(a), layout_a,
                              reinterpret_cast<void *>(b), layout_b, &beta, at, layout_d, at, layout_d,
                              choice.algorithm, reinterpret_cast<void *>(workspace), bytes, stream);
    }
    std::vector<float> results() {
        std::vector<char> bytes(rows * outputs * size());
        CHECK_OK(cuCtxSynchronize());
        CHECK_OK(cuMemcpyDtoH_v2(bytes.data(), d, bytes.size()));
        std::vector<float> numbers(rows * outputs);
        for (size_t at = 0; at < numbers.size(); at++) {
            bf16 narrow;
            memcpy(type == type_f32 ? static_cast<void *>(&numbers[at]) : &narrow, &bytes[at * size()], size());
            numbers[at] = type == type_f32 ? numbers[at] : to_float(narrow);
        }
        return numbers;
    }
    // Plain sums of the inner dimension in so many parts.
    std::vector<float> expected(u32 parts) {
        std::vector<float> numbers;
        for (u32 row = 0; row < rows; row++) {
            for (u32 output = 0; output < outputs; output++) {
                float sum = 0;
                for (u32 part = 0; part < parts; part++) {
                    float of_part = 0;
                    for (u32 at = inner * part / parts; at < inner * (part + 1) / parts; at++) {
                        of_part += to_float(weights[output * inner + at]) * to_float(inputs[row * inner + at]);
                    }
                    sum = part == 0 ? of_part : sum + of_part;
                }
                numbers.push_back(type == type_f32 ? sum : to_float(to_bf16(sum)));
            }
        }
        return numbers;
    }

    static constexpr size_t workspace_bytes = 1 << 20;
    Card card;
    void *handle, *description, *layout_a, *layout_b, *layout_d, *preference;

  private:
    size_t size() const { return type == type_f32 ? 4 : 2; }
    Address upload(const void *from, size_t bytes) {
        Address address = card.allocate(bytes);
        CHECK_OK(cuMemcpyHtoD_v2(address, from, bytes));
        return address;
    }
    u32 rows, outputs, inner;
    int type;
    std::vector<bf16> weights, inputs;
    Address a, b, d, workspace;
};

void both_sums_are_as_told() {
    for (int type : {type_f32, type_bf16}) {
        for (u32 rows : {1u, 3u, 64u}) {
            Case it(rows, 40, 96, type);
            for (u32 parts : {1u, 2u}) {
                CHECK_OK(it.multiply(it.first(parts), 0));
                CHECK(it.results() == it.expected(parts));
            }
        }
    }
    Case it(64, 40, 96, type_f32);
    CHECK(it.expected(1) != it.expected(2));
}

void many_rows_split_first() {
    CHECK(Case(63, 8, 16, type_f32).choices().front().parts() == 1);
    CHECK(Case(64, 8, 16, type_f32).choices().front().parts() == 2);
    Case it(64, 8, 16, type_f32);
    CHECK(it.choices().size() == 4);
    unsigned none = 0;
    CHECK_OK(cublasLtMatmulPreferenceSetAttribute(it.preference, 3, &none, sizeof none));
    CHECK(it.choices().size() == 2 && it.choices().front().parts() == 1);
}

void results_are_added_to() {
    Case it(3, 20, 32, type_f32);
    Choice choice = it.first(1);
    CHECK_OK(it.multiply(choice, 0));
    CHECK_OK(it.multiply(choice, 1));
    std::vector<float> twice = it.expected(1);
    for (float &number : twice) {
        number += number;
    }
    CHECK(it.results() == twice);
}

void products_are_captured() {
    Case it(2, 16, 32, type_f32);
    Stream *stream;
    Graph *graph;
    Executable *executable;
    CHECK_OK(cuStreamCreate(&stream, 1));
    CHECK_OK(cuStreamBeginCapture_v2(stream, 1));
    CHECK_OK(it.multiply(it.first(2), 0, Case::workspace_bytes, stream));
    CHECK_OK(cuStreamEndCapture(stream, &graph));
    CHECK(it.results() != it.expected(2));
    CHECK_OK(cuGraphInstantiateWithFlags(&executable, graph, 0));
    CHECK_OK(cuGraphLaunch(executable, stream));
    CHECK(it.results() == it.expected(2));
    CHECK_OK(cuGraphExecDestroy(executable));
    CHECK_OK(cuGraphDestroy(graph));
    CHECK_OK(cuStreamDestroy_v2(stream));
}

void wrong_ones_are_refused() {
    Case it(2, 16, 32, type_f32);
    Choice split = it.first(2);
    CHECK(split.workspace == 2 * 2 * 16 * 4);
    CHECK_RESULT(invalid_value, it.multiply(split, 0, split.workspace - 1));
    CHECK_OK(it.multiply(split, 0, split.workspace));
    CHECK_RESULT(invalid_value, it.multiply(Choice{}, 0));
    int order = 0;
    CHECK_RESULT(invalid_value, cublasLtMatmulDescSetAttribute(it.description, 3, &order, 8));
    CHECK_OK(cublasLtMatmulDescSetAttribute(it.description, 3, &order, sizeof order));
    CHECK_RESULT(not_supported, it.multiply(split, 0));
    int transposed = 1;
    CHECK_OK(cublasLtMatmulDescSetAttribute(it.description, 3, &transposed, sizeof transposed));
    void *right = it.layout_b;
    CHECK_OK(cublasLtMatrixLayoutCreate(&it.layout_b, type_bf16, 31, 2, 32));
    CHECK_RESULT(invalid_value, it.multiply(split, 0));
    CHECK_OK(cublasLtMatrixLayoutDestroy(it.layout_b));
    CHECK_RESULT(invalid_value, it.multiply(split, 0));
    // More rows than there is memory for.
    CHECK_OK(cublasLtMatrixLayoutCreate(&it.layout_b, type_bf16, 32, 2, 320));
    CHECK_OK(it.multiply(it.first(1), 0));
    CHECK_RESULT(ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
    CHECK_OK(cublasLtMatrixLayoutDestroy(it.layout_b));
    it.layout_b = right;
}

} // namespace

void test_products() {
    both_sums_are_as_told();
    many_rows_split_first();
    results_are_added_to();
    products_are_captured();
    wrong_ones_are_refused();
}

} // namespace emulated
