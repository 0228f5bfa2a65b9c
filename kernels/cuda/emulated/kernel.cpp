// The kernels that were compiled in, by name.
#include "kernel.h"
#include <string.h>

namespace emulated {

std::vector<Kernel> &kernels() {
    // Never destroyed: a process may end while its threads still call.
    static auto *const all = new std::vector<Kernel>;
    return *all;
}

const Kernel *find_kernel(const char *name) {
    for (const Kernel &kernel : kernels()) {
        if (strcmp(kernel.name, name) == 0) {
            return &kernel;
        }
    }
    return nullptr;
}

} // namespace emulated
