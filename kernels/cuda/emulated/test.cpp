// The emulator's own test: `scripts/emulated-cuda --test`.
#include "test.h"

int main() {
    // Catches faults from here on.
    CHECK_OK(cuInit(0));
    emulated::test_block();
    emulated::test_errors();
    emulated::test_driver();
    emulated::test_streams();
    emulated::test_products();
    puts("the emulated CUDA passes");
}
