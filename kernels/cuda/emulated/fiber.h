// Fibers: stacks of their own that the emulator switches between by hand, one for each thread of a block.
//
// A fiber is made once with ucontext, then resumed with _setjmp and _longjmp, which need no system call. None of this
// is thread-local, so a fiber may run on any thread of the process, as long as it is one at a time.
#pragma once
#include <setjmp.h>
#include <stddef.h>

namespace emulated {

class Fiber {
  public:
    // What a fiber does, in a loop that never ends.
    using Body = void (*)();

    explicit Fiber(Body body);
    ~Fiber();
    Fiber(const Fiber &) = delete;
    Fiber &operator=(const Fiber &) = delete;

    // Forgets where the fiber was: it starts at its body's beginning.
    void reset();
    // From one fiber into another, which goes on where it was.
    static void switch_to(Fiber &from, Fiber &to);
    // From outside all fibers into `to`; returns when a fiber pauses or leaves.
    static void enter(Fiber &to);
    // Out of the fiber that runs, `from`, which will go on here.
    static void pause(Fiber &from);
    // Out of the fiber that runs, which must be reset before it runs again.
    [[noreturn]] static void leave();

  private:
    static void begin();
    Body body;
    void *memory;
    // Stacks begin at different places of their pages, so that a warp's do not fall on the same lines of the cache.
    size_t stagger;
    jmp_buf place;
};

} // namespace emulated
