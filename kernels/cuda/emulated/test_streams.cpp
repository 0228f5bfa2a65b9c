// Tests of streams, events, captures and graphs.
#include "test.h"
#include <thread>

namespace emulated {
namespace {

struct Numbers {
    Card card;
    Stream *stream;
    Address address = card.allocate(4);
    float *host;
    Function *add = card.function("add");

    Numbers() {
        void *pinned;
        CHECK_OK(cuMemHostAlloc(&pinned, 4, 0));
        host = static_cast<float *>(pinned);
        CHECK_OK(cuStreamCreate(&stream, 1));
        CHECK_OK(cuMemsetD8Async(address, 0, 4, stream));
        CHECK_OK(cuStreamSynchronize(stream));
    }
    ~Numbers() {
        CHECK_OK(cuMemFreeHost(host));
        CHECK_OK(cuStreamDestroy_v2(stream));
    }
    int plus(float number, Stream *on) { return launch(add, 1, 1, 0, on, address, number, 1u); }
    float get() {
        float number;
        CHECK_OK(cuStreamSynchronize(stream));
        CHECK_OK(cuMemcpyDtoH_v2(&number, address, 4));
        return number;
    }
};

void work_waits_until_somebody_does() {
    Numbers numbers;
    *numbers.host = -1;
    CHECK_OK(numbers.plus(2, numbers.stream));
    CHECK_OK(cuMemcpyDtoHAsync_v2(numbers.host, numbers.address, 4, numbers.stream));
    CHECK(*numbers.host == -1);
    CHECK_OK(cuStreamSynchronize(numbers.stream));
    CHECK(*numbers.host == 2);
    // What is changed before the copy happens is what is copied.
    *numbers.host = 10;
    CHECK_OK(cuMemcpyHtoDAsync_v2(numbers.address, numbers.host, 4, numbers.stream));
    *numbers.host = 20;
    CHECK(numbers.get() == 20);
    // Pageable memory has been read when the call returns.
    float pageable = 5;
    CHECK_OK(cuMemcpyHtoDAsync_v2(numbers.address, &pageable, 4, numbers.stream));
    pageable = 6;
    CHECK(numbers.get() == 5);
}

void events_order_streams() {
    Numbers numbers;
    Stream *other;
    Event *start, *end;
    CHECK_OK(cuStreamCreate(&other, 1));
    CHECK_OK(cuEventCreate(&start, 0));
    CHECK_OK(cuEventCreate(&end, 0));
    CHECK_OK(cuEventRecord(start, numbers.stream));
    CHECK_OK(numbers.plus(3, numbers.stream));
    CHECK_OK(cuEventRecord(end, numbers.stream));
    CHECK_RESULT(ERROR_NOT_READY, cuEventQuery(end));
    CHECK_OK(cuEventQuery(end));
    CHECK_OK(cuStreamWaitEvent(other, end, 0));
    CHECK_OK(cuMemcpyDtoHAsync_v2(numbers.host, numbers.address, 4, other));
    CHECK_OK(cuStreamSynchronize(other));
    CHECK(*numbers.host == 3);
    float milliseconds = -1;
    CHECK_OK(cuEventElapsedTime_v2(&milliseconds, start, end));
    CHECK(milliseconds >= 0);
    CHECK_OK(cuEventDestroy_v2(start));
    CHECK_RESULT(ERROR_INVALID_HANDLE, cuEventSynchronize(start));
    CHECK_OK(cuEventDestroy_v2(end));
    CHECK_OK(cuStreamDestroy_v2(other));
    CHECK_RESULT(ERROR_INVALID_HANDLE, cuStreamSynchronize(other));
}

void memory_is_freed_in_order() {
    Numbers numbers;
    Address address;
    CHECK_OK(cuMemAllocAsync(&address, 4, numbers.stream));
    CHECK_OK(launch(numbers.add, 1, 1, 0, numbers.stream, address, 1.0f, 1u));
    CHECK_OK(cuMemFreeAsync(address, numbers.stream));
    CHECK_OK(cuStreamSynchronize(numbers.stream));
    CHECK_RESULT(ERROR_INVALID_VALUE, cuMemFreeAsync(address, numbers.stream));
}

void graphs_replay_what_was_captured() {
    Numbers numbers;
    Graph *graph;
    Executable *executable;
    int status;
    CHECK_OK(cuStreamBeginCapture_v2(numbers.stream, 1));
    CHECK_OK(cuStreamIsCapturing(numbers.stream, &status));
    CHECK(status == 1);
    CHECK_OK(numbers.plus(1, numbers.stream));
    CHECK_OK(numbers.plus(4, numbers.stream));
    CHECK_OK(cuMemcpyDtoHAsync_v2(numbers.host, numbers.address, 4, numbers.stream));
    CHECK_OK(cuStreamEndCapture(numbers.stream, &graph));
    CHECK(graph != nullptr);
    CHECK(numbers.get() == 0);
    CHECK_OK(cuGraphInstantiateWithFlags(&executable, graph, 0));
    CHECK_OK(cuGraphDestroy(graph));
    CHECK_OK(cuGraphLaunch(executable, numbers.stream));
    CHECK_OK(cuGraphLaunch(executable, numbers.stream));
    // Launches that wait outlive it.
    CHECK_OK(cuGraphExecDestroy(executable));
    CHECK_OK(cuStreamSynchronize(numbers.stream));
    CHECK(*numbers.host == 10 && numbers.get() == 10);
}

template <class Mistake> void spoils_a_capture(int expected, Mistake mistake) {
    Numbers numbers;
    Graph *graph;
    CHECK_OK(cuStreamBeginCapture_v2(numbers.stream, 1));
    CHECK_RESULT(expected, mistake(numbers));
    CHECK_RESULT(ERROR_STREAM_CAPTURE_INVALIDATED, numbers.plus(1, numbers.stream));
    CHECK_RESULT(ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(numbers.stream, &graph));
    CHECK(graph == nullptr);
    CHECK_RESULT(ERROR_STREAM_CAPTURE_UNMATCHED, cuStreamEndCapture(numbers.stream, &graph));
    CHECK_OK(numbers.plus(1, numbers.stream));
    CHECK(numbers.get() == 1);
}

void captures_forbid() {
    spoils_a_capture(ERROR_STREAM_CAPTURE_UNSUPPORTED,
                     [](Numbers &numbers) { return cuStreamSynchronize(numbers.stream); });
    spoils_a_capture(ERROR_STREAM_CAPTURE_UNSUPPORTED, [](Numbers &) {
        Address address;
        return cuMemAlloc_v2(&address, 4);
    });
    spoils_a_capture(ERROR_STREAM_CAPTURE_UNSUPPORTED, [](Numbers &numbers) {
        float pageable = 0;
        return cuMemcpyHtoDAsync_v2(numbers.address, &pageable, 4, numbers.stream);
    });
    spoils_a_capture(ERROR_STREAM_CAPTURE_ISOLATION, [](Numbers &numbers) {
        Event *event;
        CHECK_OK(cuEventCreate(&event, 2));
        CHECK_OK(cuEventRecord(event, nullptr));
        return cuStreamWaitEvent(numbers.stream, event, 0);
    });
}

// Kernels whose fibers were made on one thread run on another.
void threads_take_turns() {
    Numbers numbers;
    void *context;
    CHECK_OK(cuDevicePrimaryCtxRetain(&context, 0));
    std::thread threads[4];
    for (std::thread &thread : threads) {
        thread = std::thread([&] {
            CHECK_OK(cuCtxSetCurrent(context));
            for (int time = 0; time < 100; time++) {
                CHECK_OK(numbers.plus(1, numbers.stream));
                CHECK_OK(cuStreamSynchronize(numbers.stream));
            }
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    CHECK(numbers.get() == 400);
    CHECK_OK(cuDevicePrimaryCtxRelease_v2(0));
}

} // namespace

void test_streams() {
    work_waits_until_somebody_does();
    events_order_streams();
    memory_is_freed_in_order();
    graphs_replay_what_was_captured();
    captures_forbid();
    threads_take_turns();
}

} // namespace emulated
