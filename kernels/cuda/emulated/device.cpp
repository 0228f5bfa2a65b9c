// The card's state, its complaints, and the faults of kernels: a kernel that touches what is no memory ends with
// CUDA_ERROR_ILLEGAL_ADDRESS, where any other code's fault goes to whoever handled faults before.
#include "device.h"
#include "block.h"
#include "stream.h"
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

namespace emulated {

thread_local bool has_context = false;

Device &device() {
    // Never destroyed: a process may end while its threads still call.
    static Device *const only = new Device;
    return *only;
}

namespace {

struct sigaction former_segv, former_bus;

void handle_fault(int signal, siginfo_t *information, void *context) {
    if (is_running()) {
        fault(information->si_addr);
    }
    const struct sigaction &former = signal == SIGBUS ? former_bus : former_segv;
    if (former.sa_flags & SA_SIGINFO) {
        former.sa_sigaction(signal, information, context);
    } else if (former.sa_handler == SIG_DFL || former.sa_handler == SIG_IGN) {
        // The instruction runs again, now without us.
        sigaction(signal, &former, nullptr);
    } else {
        former.sa_handler(signal);
    }
}

// Handlers of this thread's faults have a stack of their own, for a kernel whose stack is full. Threads of Rust have it
// already.
class HandlerStack {
  public:
    HandlerStack() {
        stack_t former;
        if (sigaltstack(nullptr, &former) == 0 && (former.ss_flags & SS_DISABLE) != 0) {
            memory = static_cast<char *>(malloc(bytes));
            stack_t ours = {};
            ours.ss_sp = memory;
            ours.ss_size = bytes;
            sigaltstack(&ours, nullptr);
        }
    }
    ~HandlerStack() {
        if (memory != nullptr) {
            stack_t none = {};
            none.ss_flags = SS_DISABLE;
            sigaltstack(&none, nullptr);
            free(memory);
        }
    }

  private:
    static constexpr size_t bytes = 64 * 1024;
    char *memory = nullptr;
};

void handle_faults() {
    struct sigaction ours = {};
    ours.sa_sigaction = handle_fault;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &ours, &former_segv);
    sigaction(SIGBUS, &ours, &former_bus);
}

u64 number_of(const char *variable, u64 otherwise) {
    const char *text = getenv(variable);
    return text == nullptr || *text == '\0' ? otherwise : strtoull(text, nullptr, 10);
}

void say(const char *format, va_list arguments) {
    char text[1200];
    vsnprintf(text, sizeof text, format, arguments);
    device().complaint = text;
    fprintf(stderr, "emulated CUDA: %s\n", text);
}

} // namespace

void prepare_for_faults() { static thread_local const HandlerStack stack; }

Result complain(Result result, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    return result;
}

Result break_down(Result result, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    device().failure = result;
    return result;
}

} // namespace emulated

using namespace emulated;

EXPORT Result cuInit(u32 flags) {
    std::lock_guard<std::mutex> guard(device().lock);
    if (flags != 0) {
        return ERROR_INVALID_VALUE;
    }
    if (!device().initialised) {
        device().memory.total = number_of("JURY_EMULATED_MEMORY", 4ull << 30);
        device().launches_left = number_of("JURY_EMULATED_LOSE_AFTER", ULLONG_MAX);
        handle_faults();
        device().initialised = true;
    }
    return SUCCESS;
}

// For tests: the card is lost after so many more kernels; the largest number: never.
EXPORT void jury_emulated_lose_after(unsigned long long launches) {
    std::lock_guard<std::mutex> guard(device().lock);
    device().launches_left = launches;
}

// For tests: kernels that ran so far, and graphs that were launched.
EXPORT unsigned long long jury_emulated_launches() {
    std::lock_guard<std::mutex> guard(device().lock);
    return device().launches;
}

EXPORT unsigned long long jury_emulated_graph_launches() {
    std::lock_guard<std::mutex> guard(device().lock);
    return device().graph_launches;
}

// For tests: copies what the emulator complained of last, ended by a zero, and forgets it.
EXPORT void jury_emulated_complaint(char *text, size_t room) {
    std::lock_guard<std::mutex> guard(device().lock);
    snprintf(text, room, "%s", device().complaint.c_str());
    device().complaint.clear();
}
