// Fibers over mapped stacks with a page that nobody may touch below each: a kernel that overflows its stack is an
// illegal address, not a write into the neighbour's.
#include "fiber.h"
#include <new>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

namespace emulated {
namespace {

constexpr size_t stack_bytes = 128 * 1024;
constexpr size_t guard_bytes = 64 * 1024;

jmp_buf outside;
size_t made;
// What a fiber that begins cannot be told by an argument.
Fiber *beginning;

} // namespace

Fiber::Fiber(Body body) : body(body), stagger(made++ % 64 * 448) {
    memory = mmap(nullptr, guard_bytes + stack_bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        throw std::bad_alloc();
    }
    mprotect(memory, guard_bytes, PROT_NONE);
    reset();
}

Fiber::~Fiber() { munmap(memory, guard_bytes + stack_bytes); }

void Fiber::begin() {
    Fiber *self = beginning;
    if (_setjmp(self->place) == 0) {
        _longjmp(outside, 1);
    }
    self->body();
    abort();
}

// The fiber runs to the place right before its body, which is where it will go on.
void Fiber::reset() {
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = static_cast<char *>(memory) + guard_bytes;
    context.uc_stack.ss_size = stack_bytes - stagger;
    context.uc_link = nullptr;
    makecontext(&context, begin, 0);
    beginning = this;
    if (_setjmp(outside) == 0) {
        setcontext(&context);
    }
}

void Fiber::switch_to(Fiber &from, Fiber &to) {
    if (_setjmp(from.place) == 0) {
        _longjmp(to.place, 1);
    }
}

void Fiber::enter(Fiber &to) {
    if (_setjmp(outside) == 0) {
        _longjmp(to.place, 1);
    }
}

void Fiber::leave() { _longjmp(outside, 1); }

void Fiber::pause(Fiber &from) {
    if (_setjmp(from.place) == 0) {
        leave();
    }
}

} // namespace emulated
