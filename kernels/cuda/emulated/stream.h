// Streams, events, captures and graphs.
//
// Work waits in its stream until somebody waits for it: a synchronization of the stream, the context or an event, a
// second query, a copy that needs it, a full queue. So whoever reads a result too early, or changes pinned memory too
// early, sees what a card might show him. Not emulated: the order that the null stream has with streams that block
// (streams of the flag CU_STREAM_NON_BLOCKING have none), forks of a capture into other streams, graphs made by hand.
#pragma once
#include "device.h"
#include <memory>
#include <pthread.h>
#include <vector>

namespace emulated {

// What an operation does with its arguments, which were copied when it was added.
using Step = Result (*)(void *arguments);

// Operations in their order. No allocation once it has grown.
class Sequence {
  public:
    // Room for the arguments, at a multiple of 16, valid until the next `add`.
    void *add(Step step, size_t bytes);
    void add(std::shared_ptr<Sequence> graph);
    size_t size() const { return operations.size(); }
    Result run(size_t number);
    Result run_all();
    void clear();

  private:
    struct Operation {
        Step step;
        size_t at;
        std::shared_ptr<Sequence> graph;
    };
    struct alignas(16) Chunk {
        char bytes[16];
    };
    std::vector<Operation> operations;
    std::vector<Chunk> arguments;
};

enum CaptureMode : int { CAPTURE_GLOBAL = 0, CAPTURE_THREAD_LOCAL = 1, CAPTURE_RELAXED = 2 };
enum CaptureStatus : int { CAPTURE_NONE = 0, CAPTURE_ACTIVE = 1, CAPTURE_INVALIDATED = 2 };

// Never deleted, but used anew: positions only grow, so what still names an old one finds it passed.
struct Stream {
    Sequence queue;
    // Operations added so far, ended so far, and those of the latter that are still in the queue.
    u64 added = 0, ended = 0;
    size_t ended_in_queue = 0;
    bool alive = false;

    CaptureStatus status = CAPTURE_NONE;
    CaptureMode mode = CAPTURE_RELAXED;
    pthread_t capturer = {};
    std::shared_ptr<Sequence> captured;

    // Where an operation goes: into the queue, or into the graph that is being captured.
    Result add(Step step, size_t bytes, void *&arguments);
    Result add(std::shared_ptr<Sequence> graph);
    Result run_until(u64 position);
    Result run_all() { return run_until(added); }
    bool has_reached(u64 position) const { return ended >= position; }

  private:
    Result open(Sequence *&sequence);
};

// Where a stream was when it was recorded. Never deleted either.
struct Event {
    bool alive = false, timed = true;
    Stream *stream = nullptr;
    u64 position = 0;
    bool captured = false;
    // How often it was recorded, and which of those a query found pending.
    u64 recorded = 0, found_pending = 0;
    // When the stream came to it last, in nanoseconds.
    u64 time = 0;
};

// The stream of a handle: null means the null stream. Null if it is none.
Stream *find_stream(Stream *handle);
Stream *new_stream();
Event *new_event();
bool is_event(const Event *handle);
// Runs everything in all streams, then looks at the guards of all memory.
Result run_all_streams();
Result check_memory();
void forget_streams();
// For calls that a capture of this or any thread forbids: it is invalid then.
Result refuse_in_capture(const char *name);

} // namespace emulated
