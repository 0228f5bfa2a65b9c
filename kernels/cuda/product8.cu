// out = x * weights^T for weights of 8 bits and activations in bf16: half the memory traffic of bf16 weights, which is
// all the time that a decoding step takes.
//
//   product8(const bf16 *x, const u32 *weights, const float *scales, void *out,
//            u32 rows, u32 inputs, u32 outputs, u32 wide, u32 add)
//
// x[rows][inputs]; out[rows][outputs], bf16, or f32 where wide != 0; add != 0: the product is added to what out holds.
// weights[outputs][inputs] of signed bytes from -127 to 127, in each four of which the middle two have changed places:
// the bytes of a u32 are the inputs 0, 2, 1, 3. scales[ceil(inputs / 128)][outputs]: a weight is byte * scale.
// inputs is a multiple of 16, all pointers are multiples of 16.
// Grid (ceil(rows / 64), ceil(outputs / 32)), so that all rows meet weights while these are near; block 256, dynamic
// shared memory 49152 bytes.
// What a row gets depends on nothing of the others (lean_product.cuh).
#include "lean_product.cuh"

extern "C" __global__ void __launch_bounds__(LEAN_THREADS, 2)
product8(const bf16 *x, const u32 *weights, const float *scales, void *out, u32 rows, u32 inputs, u32 outputs, u32 wide,
         u32 add) {
    u32 first_row = blockIdx.x * LEAN_ROWS, count = machine::min(rows - first_row, LEAN_ROWS);
    u64 row = first_row;
    Matrix<8> matrix = {reinterpret_cast<const unsigned char *>(weights), scales, inputs, outputs};
    lean_product(matrix, blockIdx.y * LEAN_OUTPUTS, {x + row * inputs, inputs, nullptr, count},
                 {out, row * outputs, outputs, wide, add});
}
