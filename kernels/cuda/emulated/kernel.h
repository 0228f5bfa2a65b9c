// Makes kernels of functions: what they are called, how to call them, how large their parameters are.
#pragma once
#include "block.h"
#include <utility>

namespace emulated {

template <class... Parameters> struct Call {
    template <void (*function)(Parameters...)> static void run(void *const *arguments) {
        run_indexed<function>(arguments, std::index_sequence_for<Parameters...>());
    }
    template <void (*function)(Parameters...), size_t... indices>
    static void run_indexed(void *const *arguments, std::index_sequence<indices...>) {
        function(*static_cast<const Parameters *>(arguments[indices])...);
    }
};

// All kernels that were compiled in.
std::vector<Kernel> &kernels();
const Kernel *find_kernel(const char *name);

template <class... Parameters, void (*function)(Parameters...)>
bool add_kernel(const char *name, std::integral_constant<void (*)(Parameters...), function>, char *shared,
                char *shared_end) {
    kernels().push_back({name, Call<Parameters...>::template run<function>, {sizeof(Parameters)...}, shared,
                         static_cast<size_t>(shared_end - shared)});
    return true;
}

} // namespace emulated
