// Around each file of kernels, in a translation unit of its own that scripts/emulated-cuda writes:
//
//     #define EMULATED_FILE norm
//     #include "kernel_file.h"
//     namespace {
//     #include "../norm.cu"
//     EMULATED_BEGIN
//     EMULATED_KERNEL(norm)
//     }
//
// The namespace makes each variable of shared memory the file's own, so that all can lie in one section of its own.
#pragma once
#define EMULATED_JOIN(a, b) a##b
#define EMULATED_NAME(prefix, file) EMULATED_JOIN(prefix, file)
#define EMULATED_TEXT_OF(text) #text
#define EMULATED_TEXT(text) EMULATED_TEXT_OF(text)
#define EMULATED_SHARED EMULATED_TEXT(EMULATED_NAME(shared_of_, EMULATED_FILE))

#include "../machine.cuh"
#include "kernel.h"

// The linker marks where a section begins and ends; one that is empty has no marks, hence the first line.
#define EMULATED_BEGIN                                                                                                 \
    __attribute__((section(EMULATED_SHARED), used, aligned(16))) char first_of_shared_memory[16];                      \
    extern "C" __attribute__((visibility("hidden"))) char EMULATED_NAME(__start_shared_of_, EMULATED_FILE)[];          \
    extern "C" __attribute__((visibility("hidden"))) char EMULATED_NAME(__stop_shared_of_, EMULATED_FILE)[];
#define EMULATED_KERNEL(function)                                                                                      \
    [[maybe_unused]] const bool has_##function = emulated::add_kernel(                                                 \
        #function, std::integral_constant<decltype(&function), &function>(),                                           \
        EMULATED_NAME(__start_shared_of_, EMULATED_FILE), EMULATED_NAME(__stop_shared_of_, EMULATED_FILE));
