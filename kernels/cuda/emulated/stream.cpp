// Queues and how they run.
#include "stream.h"
#include <algorithm>

namespace emulated {
namespace {

// Hardware runs ahead of the host; here a full queue does.
constexpr size_t most_queued = 4096;

std::vector<std::unique_ptr<Stream>> &streams() {
    // The first is the null stream.
    static auto *const all = new std::vector<std::unique_ptr<Stream>>;
    if (all->empty()) {
        all->push_back(std::make_unique<Stream>());
        all->front()->alive = true;
    }
    return *all;
}

std::vector<std::unique_ptr<Event>> &events() {
    static auto *const all = new std::vector<std::unique_ptr<Event>>;
    return *all;
}

} // namespace

void *Sequence::add(Step step, size_t bytes) {
    size_t at = arguments.size();
    operations.push_back({step, at, nullptr});
    arguments.resize(at + (bytes + sizeof(Chunk) - 1) / sizeof(Chunk));
    return arguments.data() + at;
}

void Sequence::add(std::shared_ptr<Sequence> graph) { operations.push_back({nullptr, 0, std::move(graph)}); }

Result Sequence::run(size_t number) {
    Operation &operation = operations[number];
    return operation.graph ? operation.graph->run_all() : operation.step(arguments.data() + operation.at);
}

Result Sequence::run_all() {
    for (size_t number = 0; number < operations.size(); number++) {
        EMULATED_TRY(run(number));
    }
    return SUCCESS;
}

void Sequence::clear() {
    operations.clear();
    arguments.clear();
}

// Where the next operation goes.
Result Stream::open(Sequence *&sequence) {
    if (status == CAPTURE_INVALIDATED) {
        return ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    if (status == CAPTURE_ACTIVE) {
        sequence = captured.get();
        return SUCCESS;
    }
    if (queue.size() >= most_queued) {
        EMULATED_TRY(run_all());
    }
    sequence = &queue;
    added += 1;
    return SUCCESS;
}

Result Stream::add(Step step, size_t bytes, void *&arguments) {
    Sequence *sequence;
    EMULATED_TRY(open(sequence));
    arguments = sequence->add(step, bytes);
    return SUCCESS;
}

Result Stream::add(std::shared_ptr<Sequence> graph) {
    Sequence *sequence;
    EMULATED_TRY(open(sequence));
    sequence->add(std::move(graph));
    return SUCCESS;
}

Result Stream::run_until(u64 position) {
    while (ended < position) {
        Result result = queue.run(ended_in_queue);
        if (result != SUCCESS || device().failure != SUCCESS) {
            // Nothing after it happens.
            ended = added;
            queue.clear();
            ended_in_queue = 0;
            return device().failure = result != SUCCESS ? result : device().failure;
        }
        ended += 1;
        ended_in_queue += 1;
    }
    if (ended == added) {
        queue.clear();
        ended_in_queue = 0;
    }
    return SUCCESS;
}

Stream *find_stream(Stream *handle) {
    if (handle == nullptr) {
        return streams().front().get();
    }
    for (const auto &stream : streams()) {
        if (stream.get() == handle && stream->alive) {
            return handle;
        }
    }
    return nullptr;
}

Result check_memory() {
    std::string damage = device().memory.damage();
    return damage.empty() ? SUCCESS : break_down(ERROR_ILLEGAL_ADDRESS, "%s", damage.c_str());
}

Result run_all_streams() {
    for (const auto &stream : streams()) {
        EMULATED_TRY(stream->run_all());
    }
    return check_memory();
}

void forget_streams() {
    for (const auto &stream : streams()) {
        stream->queue.clear();
        stream->ended_in_queue = 0;
        stream->ended = stream->added;
        stream->status = CAPTURE_NONE;
        stream->captured.reset();
        stream->alive = stream == streams().front();
    }
}

Result refuse_in_capture(const char *name) {
    for (const auto &stream : streams()) {
        bool forbids = stream->mode == CAPTURE_GLOBAL ||
                       (stream->mode == CAPTURE_THREAD_LOCAL && pthread_equal(stream->capturer, pthread_self()));
        if (stream->status == CAPTURE_ACTIVE && forbids) {
            stream->status = CAPTURE_INVALIDATED;
            return complain(ERROR_STREAM_CAPTURE_UNSUPPORTED, "%s while a stream captures", name);
        }
    }
    return SUCCESS;
}

Stream *new_stream() {
    for (const auto &stream : streams()) {
        if (!stream->alive) {
            stream->alive = true;
            return stream.get();
        }
    }
    streams().push_back(std::make_unique<Stream>());
    streams().back()->alive = true;
    return streams().back().get();
}

Event *new_event() {
    for (const auto &event : events()) {
        if (!event->alive) {
            // What waits for the former event of this place must not take it for this one.
            u64 recorded = event->recorded;
            *event = Event();
            event->recorded = event->found_pending = recorded;
            event->alive = true;
            return event.get();
        }
    }
    events().push_back(std::make_unique<Event>());
    events().back()->alive = true;
    return events().back().get();
}

bool is_event(const Event *handle) {
    return std::any_of(events().begin(), events().end(),
                       [&](const auto &event) { return event.get() == handle && event->alive; });
}

} // namespace emulated
