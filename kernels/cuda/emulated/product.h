// The products of the emulated cuBLASLt: d = alpha a^T b + beta c, all by columns, a and b of bf16.
#pragma once
#include <stddef.h>

namespace emulated {

struct Product {
    const void *a, *b, *c;
    void *d;
    // a: inner x outputs; b: inner x rows; c and d: outputs x rows. The stride from one column to the next.
    size_t inner, outputs, rows;
    size_t stride_a, stride_b, stride_c, stride_d;
    float alpha, beta;
    bool wide; // c and d are f32
    // The inner dimension is summed in so many parts, each of which lies in the workspace if they are more than one.
    unsigned parts;
    float *workspace;
};

inline size_t workspace_for(unsigned parts, size_t outputs, size_t rows) {
    return parts > 1 ? parts * outputs * rows * sizeof(float) : 0;
}

void multiply(const Product &product);

} // namespace emulated
