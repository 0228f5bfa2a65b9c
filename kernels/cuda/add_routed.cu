// Adds to the stream what experts made of its rows: outputs of a row's seats times their weights, in the order of its
// routes.
// Shapes: outputs[seats][width], seats_of_routes[rows][used], weights[rows][used], stream[rows][width], width a multiple
// of 4; grid (rows, pieces), block any: the threads of a row's pieces share its groups of four.
#include "row.cuh"

extern "C" __global__ void __launch_bounds__(1024)
add_routed(const float *outputs, const u32 *seats_of_routes, const float *weights, float *stream, u32 used, u32 width) {
    const u32 *seats = seats_of_routes + static_cast<u64>(blockIdx.x) * used;
    const float *factors = weights + static_cast<u64>(blockIdx.x) * used;
    float *row = stream + static_cast<u64>(blockIdx.x) * width;
    u32 step = 4 * gridDim.y * blockDim.x;
    for (u32 at = 4 * (blockIdx.y * blockDim.x + threadIdx.x); at < width; at += step) {
        f32x4 sum = load_four(row + at);
#pragma unroll 4
        for (u32 route = 0; route < used; route++) {
            f32x4 output = load_four(outputs + static_cast<u64>(seats[route]) * width + at);
            float by = factors[route];
            sum = {machine::fma(output.x, by, sum.x), machine::fma(output.y, by, sum.y),
                   machine::fma(output.z, by, sum.z), machine::fma(output.w, by, sum.w)};
        }
        store_four(row + at, sum);
    }
}
