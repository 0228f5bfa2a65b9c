// libcuda: modules, functions and launches. A module is read as PTX for its entries; the code that runs is the kernel
// of that name that was compiled in. Where the two differ in their parameters the PTX is stale, and the image invalid.
#include "block.h"
#include "kernel.h"
#include "ptx.h"
#include "stream.h"
#include <algorithm>
#include <fstream>
#include <memory>
#include <sstream>
#include <string.h>

using namespace emulated;

struct Function {
    const Kernel *kernel;
    u32 most_threads;
    u32 static_bytes;
    // Dynamic shared memory that a launch may ask for.
    u32 most_dynamic;
};

struct Module {
    Ptx ptx;
    std::map<std::string, std::unique_ptr<Function>> functions;
};

namespace {

constexpr unsigned newest_ptx = 90;
constexpr unsigned newest_target = 80;

// Never destroyed: a process may end while its threads still call.
std::vector<std::unique_ptr<Module>> &modules = *new std::vector<std::unique_ptr<Module>>;

template <class Found> auto find_module(Found found) {
    return std::find_if(modules.begin(), modules.end(), [&](const auto &module) { return found(*module); });
}

Result load(Module **handle, const std::string &text) {
    auto module = std::make_unique<Module>();
    module->ptx = read_ptx(text);
    if (module->ptx.version == 0 || module->ptx.target == 0) {
        return complain(ERROR_INVALID_IMAGE, "a module that is no PTX");
    }
    if (module->ptx.version > newest_ptx) {
        return complain(ERROR_UNSUPPORTED_PTX_VERSION, "PTX of version %u / 10", module->ptx.version);
    }
    if (module->ptx.target > newest_target) {
        return complain(ERROR_INVALID_PTX, "PTX for sm_%u", module->ptx.target);
    }
    *handle = module.get();
    modules.push_back(std::move(module));
    return SUCCESS;
}

std::string text_of(const std::vector<size_t> &sizes) {
    std::ostringstream text;
    for (size_t size : sizes) {
        text << ' ' << size;
    }
    return text.str();
}

Result make_function(std::unique_ptr<Function> &function, const Entry &entry, const char *name) {
    const Kernel *kernel = find_kernel(name);
    if (kernel == nullptr) {
        return complain(ERROR_NOT_FOUND, "%s is in the PTX, but was not compiled in", name);
    }
    if (kernel->parameter_sizes != entry.parameter_sizes) {
        return complain(ERROR_INVALID_IMAGE, "%s has parameters of%s bytes, but of%s in the PTX, which is stale", name,
                        text_of(kernel->parameter_sizes).c_str(), text_of(entry.parameter_sizes).c_str());
    }
    u32 threads = entry.threads != 0 ? std::min(entry.threads, most_threads) : most_threads;
    u32 used = static_cast<u32>(entry.shared_bytes);
    if (used > shared_limit) {
        return complain(ERROR_INVALID_PTX, "%s has %u bytes of static shared memory", name, used);
    }
    function = std::make_unique<Function>(Function{kernel, threads, used, shared_limit - used});
    return SUCCESS;
}

bool is_function(const Function *handle) {
    return handle != nullptr && find_module([&](const Module &module) {
                                    return std::any_of(module.functions.begin(), module.functions.end(),
                                                       [&](const auto &entry) { return entry.second.get() == handle; });
                                }) != modules.end();
}

template <class Body> Result call_with(Function *function, Body body) {
    return call([&]() -> Result {
        return is_function(function) ? body() : complain(ERROR_INVALID_HANDLE, "no function, or one of no module");
    });
}

// A launch as it waits in a stream; the parameters follow, each at a multiple of 16 bytes.
struct alignas(16) Waiting {
    const Kernel *kernel;
    Index grid, block;
    u32 dynamic_bytes;
};

size_t room_for(size_t parameter) { return (parameter + 15) / 16 * 16; }

Result run_kernel(void *arguments) {
    constexpr size_t most_parameters = 64;
    const Waiting &it = *static_cast<const Waiting *>(arguments);
    Device &card = device();
    if (card.launches_left == 0) {
        return break_down(ERROR_LAUNCH_FAILED, "kernel %s: the card is lost, as it was told", it.kernel->name);
    }
    card.launches_left -= card.launches_left != ULLONG_MAX;
    card.launches += 1;
    void *parameters[most_parameters];
    char *place = static_cast<char *>(arguments) + sizeof(Waiting);
    for (size_t number = 0; number < it.kernel->parameter_sizes.size() && number < most_parameters; number++) {
        parameters[number] = place;
        place += room_for(it.kernel->parameter_sizes[number]);
    }
    prepare_for_faults();
    std::string failure = run({it.kernel, it.grid, it.block, it.dynamic_bytes, parameters});
    return failure.empty() ? SUCCESS : break_down(ERROR_ILLEGAL_ADDRESS, "%s", failure.c_str());
}

Result check_shape(const Function &function, Index grid, Index block, u32 dynamic_bytes) {
    const char *name = function.kernel->name;
    u64 threads = static_cast<u64>(block.x) * block.y * block.z;
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 2147483647 || grid.y > 65535 || grid.z > 65535) {
        return complain(ERROR_INVALID_VALUE, "%s: a grid of (%u, %u, %u) blocks", name, grid.x, grid.y, grid.z);
    }
    if (threads == 0 || block.z > 64 || threads > function.most_threads) {
        return complain(ERROR_INVALID_VALUE, "%s: a block of (%u, %u, %u) threads, where %u are the most", name,
                        block.x, block.y, block.z, function.most_threads);
    }
    if (dynamic_bytes > function.most_dynamic) {
        return complain(ERROR_INVALID_VALUE, "%s: %u bytes of dynamic shared memory, where %u are the most", name,
                        dynamic_bytes, function.most_dynamic);
    }
    return SUCCESS;
}

Result launch(const Function &function, Index grid, Index block, u32 dynamic_bytes, Stream *handle, void **parameters) {
    const std::vector<size_t> &sizes = function.kernel->parameter_sizes;
    Stream *stream = find_stream(handle);
    if (stream == nullptr) {
        return complain(ERROR_INVALID_HANDLE, "%s: no stream, or one that was destroyed", function.kernel->name);
    }
    EMULATED_TRY(check_shape(function, grid, block, dynamic_bytes));
    size_t bytes = sizeof(Waiting);
    for (size_t number = 0; number < sizes.size(); number++) {
        if (parameters == nullptr || parameters[number] == nullptr) {
            return complain(ERROR_INVALID_VALUE, "%s: parameter %zu is missing", function.kernel->name, number);
        }
        bytes += room_for(sizes[number]);
    }
    void *place;
    EMULATED_TRY(stream->add(run_kernel, bytes, place));
    *static_cast<Waiting *>(place) = {function.kernel, grid, block, dynamic_bytes};
    char *at = static_cast<char *>(place) + sizeof(Waiting);
    for (size_t number = 0; number < sizes.size(); number++) {
        memcpy(at, parameters[number], sizes[number]);
        at += room_for(sizes[number]);
    }
    return SUCCESS;
}

// Attributes of functions, by the numbers of CUfunction_attribute.
enum : int {
    MAX_THREADS = 0,
    SHARED_SIZE = 1,
    NUM_REGS = 4,
    PTX_VERSION = 5,
    BINARY_VERSION = 6,
    MAX_DYNAMIC = 8,
    CARVEOUT = 9,
};

} // namespace

EXPORT Result cuModuleLoadData(Module **module, const void *image) {
    return call([&]() -> Result {
        EMULATED_TRY(refuse_in_capture("cuModuleLoadData"));
        return image != nullptr ? load(module, static_cast<const char *>(image)) : ERROR_INVALID_VALUE;
    });
}

EXPORT Result cuModuleLoad(Module **module, const char *path) {
    return call([&]() -> Result {
        std::ifstream file(path);
        if (!file) {
            return ERROR_FILE_NOT_FOUND;
        }
        std::ostringstream text;
        text << file.rdbuf();
        return load(module, text.str());
    });
}

EXPORT Result cuModuleUnload(Module *handle) {
    return call([&]() -> Result {
        EMULATED_TRY(run_all_streams());
        auto found = find_module([&](const Module &module) { return &module == handle; });
        if (found == modules.end()) {
            return ERROR_INVALID_HANDLE;
        }
        modules.erase(found);
        return SUCCESS;
    });
}

EXPORT Result cuModuleGetFunction(Function **function, Module *handle, const char *name) {
    return call([&]() -> Result {
        auto found = find_module([&](const Module &module) { return &module == handle; });
        if (found == modules.end()) {
            return ERROR_INVALID_HANDLE;
        }
        auto entry = (*found)->ptx.entries.find(name);
        if (entry == (*found)->ptx.entries.end()) {
            return ERROR_NOT_FOUND;
        }
        std::unique_ptr<Function> &made = (*found)->functions[name];
        if (made == nullptr) {
            EMULATED_TRY(make_function(made, entry->second, name));
        }
        *function = made.get();
        return SUCCESS;
    });
}

EXPORT Result cuModuleGetGlobal_v2(u64 *, size_t *, Module *, const char *) {
    return call([] { return ERROR_NOT_FOUND; });
}

EXPORT Result cuFuncGetAttribute(int *value, int attribute, Function *function) {
    return call_with(function, [&] {
        switch (attribute) {
        case MAX_THREADS:
            *value = static_cast<int>(function->most_threads);
            return SUCCESS;
        case SHARED_SIZE:
            *value = static_cast<int>(function->static_bytes);
            return SUCCESS;
        case MAX_DYNAMIC:
            *value = static_cast<int>(function->most_dynamic);
            return SUCCESS;
        case NUM_REGS:
            *value = 64;
            return SUCCESS;
        case PTX_VERSION:
        case BINARY_VERSION:
            *value = newest_target;
            return SUCCESS;
        default:
            *value = 0;
            return attribute >= 0 && attribute < 20 ? SUCCESS : ERROR_INVALID_VALUE;
        }
    });
}

EXPORT Result cuFuncSetAttribute(Function *function, int attribute, int value) {
    return call_with(function, [&]() -> Result {
        if (attribute == CARVEOUT) {
            return SUCCESS;
        }
        if (attribute != MAX_DYNAMIC) {
            return ERROR_INVALID_VALUE;
        }
        if (value < 0 || value + function->static_bytes > shared_limit_opt_in) {
            return complain(ERROR_INVALID_VALUE, "%s: %d bytes of dynamic shared memory are more than a block has",
                            function->kernel->name, value);
        }
        function->most_dynamic = static_cast<u32>(value);
        return SUCCESS;
    });
}

EXPORT Result cuFuncSetCacheConfig(Function *function, int) {
    return call_with(function, [] { return SUCCESS; });
}

EXPORT Result cuLaunchKernel(Function *function, u32 grid_x, u32 grid_y, u32 grid_z, u32 block_x, u32 block_y,
                             u32 block_z, u32 dynamic_bytes, Stream *stream, void **parameters, void **extra) {
    return call_with(function, [&]() -> Result {
        if (extra != nullptr) {
            return complain(ERROR_NOT_SUPPORTED, "parameters in one buffer are not emulated");
        }
        return launch(*function, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, dynamic_bytes, stream,
                      parameters);
    });
}

static Result count_blocks(int *blocks, Function *function, int threads, size_t dynamic_bytes) {
    return call_with(function, [&] {
        if (threads <= 0) {
            return ERROR_INVALID_VALUE;
        }
        size_t shared = dynamic_bytes + function->static_bytes + 1024;
        *blocks = static_cast<int>(std::min<size_t>(2048 / threads, 164 * 1024 / shared));
        return SUCCESS;
    });
}
EXPORT Result cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, Function *function, int threads,
                                                          size_t dynamic_bytes) {
    return count_blocks(blocks, function, threads, dynamic_bytes);
}
EXPORT Result cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, Function *function, int threads,
                                                                   size_t dynamic_bytes, u32) {
    return count_blocks(blocks, function, threads, dynamic_bytes);
}

// For the emulated cuBLASLt: an operation of its own in a stream, with a copy of its arguments.
EXPORT int jury_emulated_enqueue(Stream *handle, int (*step)(void *), const void *arguments, size_t bytes) {
    return call([&]() -> Result {
        Stream *stream = find_stream(handle);
        if (stream == nullptr) {
            return complain(ERROR_INVALID_HANDLE, "a product: no stream, or one that was destroyed");
        }
        void *place;
        EMULATED_TRY(stream->add(reinterpret_cast<Step>(step), bytes, place));
        memcpy(place, arguments, bytes);
        return SUCCESS;
    });
}

// For its operations while they run, that is under the lock: whether all bytes lie in one allocation, and an error that
// stays.
EXPORT int jury_emulated_has_memory(const void *address, size_t bytes) {
    return device().memory.has(reinterpret_cast<u64>(address), bytes);
}
EXPORT int jury_emulated_break_down(const char *text) { return break_down(ERROR_ILLEGAL_ADDRESS, "%s", text); }
