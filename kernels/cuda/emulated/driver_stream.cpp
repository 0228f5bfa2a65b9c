// libcuda: streams, events, captures, graphs.
#include "stream.h"
#include <chrono>
#include <string.h>

using namespace emulated;

// What a graph's handle names; instantiating one shares its operations.
struct Graph {
    std::shared_ptr<Sequence> operations;
};

namespace {

constexpr u32 event_without_timing = 2;

template <class Body> Result call_on(Stream *handle, Body body) {
    return call([&]() -> Result {
        Stream *stream = find_stream(handle);
        return stream != nullptr ? body(*stream)
                                 : complain(ERROR_INVALID_HANDLE, "no stream, or one that was destroyed");
    });
}

template <class Body> Result call_with(Event *event, Body body) {
    return call([&]() -> Result {
        return is_event(event) ? body() : complain(ERROR_INVALID_HANDLE, "no event, or one that was destroyed");
    });
}

struct Wait {
    Stream *stream;
    u64 position;
};

Result wait(void *arguments) {
    const Wait &it = *static_cast<const Wait *>(arguments);
    return it.stream->run_until(it.position);
}

struct Recording {
    Event *event;
    u64 number;
};

Result note_time(void *arguments) {
    const Recording &it = *static_cast<const Recording *>(arguments);
    if (it.event->recorded == it.number) {
        it.event->time = std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
    }
    return SUCCESS;
}

struct HostCall {
    void (*function)(void *);
    void *argument;
};

Result call_host(void *arguments) {
    const HostCall &it = *static_cast<const HostCall *>(arguments);
    it.function(it.argument);
    return SUCCESS;
}

template <class Arguments> Result add(Stream &stream, Step step, const Arguments &arguments) {
    void *place;
    EMULATED_TRY(stream.add(step, sizeof arguments, place));
    memcpy(place, &arguments, sizeof arguments);
    return SUCCESS;
}

Result refuse_to_wait(Stream &stream, const char *name) {
    if (stream.status == CAPTURE_NONE) {
        return SUCCESS;
    }
    stream.status = CAPTURE_INVALIDATED;
    return complain(ERROR_STREAM_CAPTURE_UNSUPPORTED, "%s of a stream that captures", name);
}

Result run_until(const Event &event) {
    if (event.captured) {
        if (event.stream->status == CAPTURE_ACTIVE) {
            event.stream->status = CAPTURE_INVALIDATED;
        }
        return ERROR_CAPTURED_EVENT;
    }
    // One that was never recorded has happened.
    return event.stream != nullptr ? event.stream->run_until(event.position) : SUCCESS;
}

Result make_stream(Stream **stream) {
    return call([&] {
        *stream = new_stream();
        return SUCCESS;
    });
}

} // namespace

EXPORT Result cuStreamCreate(Stream **stream, u32) { return make_stream(stream); }
EXPORT Result cuStreamCreateWithPriority(Stream **stream, u32, int) { return make_stream(stream); }

EXPORT Result cuStreamDestroy_v2(Stream *handle) {
    return call_on(handle, [](Stream &stream) -> Result {
        EMULATED_TRY(refuse_to_wait(stream, "cuStreamDestroy"));
        EMULATED_TRY(stream.run_all());
        stream.alive = &stream == find_stream(nullptr);
        return SUCCESS;
    });
}

EXPORT Result cuStreamSynchronize(Stream *handle) {
    return call_on(handle, [](Stream &stream) -> Result {
        EMULATED_TRY(refuse_to_wait(stream, "cuStreamSynchronize"));
        EMULATED_TRY(stream.run_all());
        return check_memory();
    });
}

EXPORT Result cuStreamWaitEvent(Stream *handle, Event *event, u32) {
    return call_with(event, [&]() -> Result {
        Stream *stream = find_stream(handle);
        if (stream == nullptr) {
            return ERROR_INVALID_HANDLE;
        }
        bool captures = stream->status != CAPTURE_NONE;
        if (captures || event->captured) {
            if (captures && event->captured && event->stream == stream) {
                return SUCCESS;
            }
            stream->status = captures ? CAPTURE_INVALIDATED : CAPTURE_NONE;
            return complain(ERROR_STREAM_CAPTURE_ISOLATION, "cuStreamWaitEvent between a capture and another stream");
        }
        if (event->stream == nullptr || event->stream == stream) {
            return SUCCESS;
        }
        return add(*stream, wait, Wait{event->stream, event->position});
    });
}

EXPORT Result cuLaunchHostFunc(Stream *handle, void (*function)(void *), void *argument) {
    return call_on(handle, [&](Stream &stream) { return add(stream, call_host, HostCall{function, argument}); });
}

EXPORT Result cuEventCreate(Event **event, u32 flags) {
    return call([&] {
        *event = new_event();
        (*event)->timed = (flags & event_without_timing) == 0;
        return SUCCESS;
    });
}

// What waits for it has its place in the stream already.
EXPORT Result cuEventDestroy_v2(Event *event) {
    return call_with(event, [&] {
        event->alive = false;
        return SUCCESS;
    });
}

EXPORT Result cuEventRecord(Event *event, Stream *handle) {
    return call_with(event, [&]() -> Result {
        Stream *stream = find_stream(handle);
        if (stream == nullptr) {
            return ERROR_INVALID_HANDLE;
        }
        event->captured = stream->status != CAPTURE_NONE;
        event->recorded += 1;
        if (!event->captured && event->timed) {
            EMULATED_TRY(add(*stream, note_time, Recording{event, event->recorded}));
        }
        event->stream = stream;
        event->position = stream->added;
        return SUCCESS;
    });
}

EXPORT Result cuEventSynchronize(Event *event) {
    return call_with(event, [&] { return run_until(*event); });
}
// What is pending is so for one query, as on a card that takes a while; the second runs it.
EXPORT Result cuEventQuery(Event *event) {
    return call_with(event, [&] {
        bool pending = !event->captured && event->stream != nullptr && !event->stream->has_reached(event->position);
        if (pending && event->found_pending != event->recorded) {
            event->found_pending = event->recorded;
            return ERROR_NOT_READY;
        }
        return run_until(*event);
    });
}

static Result elapsed(float *milliseconds, Event *start, Event *end) {
    return call_with(start, [&]() -> Result {
        if (!is_event(end) || !start->timed || !end->timed || start->stream == nullptr || end->stream == nullptr) {
            return complain(ERROR_INVALID_HANDLE, "cuEventElapsedTime: an event is not timed, or was not recorded");
        }
        EMULATED_TRY(run_until(*start));
        EMULATED_TRY(run_until(*end));
        *milliseconds = static_cast<float>((static_cast<double>(end->time) - static_cast<double>(start->time)) / 1e6);
        return SUCCESS;
    });
}
EXPORT Result cuEventElapsedTime(float *milliseconds, Event *start, Event *end) {
    return elapsed(milliseconds, start, end);
}
EXPORT Result cuEventElapsedTime_v2(float *milliseconds, Event *start, Event *end) {
    return elapsed(milliseconds, start, end);
}

EXPORT Result cuStreamBeginCapture_v2(Stream *handle, CaptureMode mode) {
    return call_on(handle, [&](Stream &stream) -> Result {
        if (mode != CAPTURE_GLOBAL && mode != CAPTURE_THREAD_LOCAL && mode != CAPTURE_RELAXED) {
            return ERROR_INVALID_VALUE;
        }
        if (&stream == find_stream(nullptr)) {
            return complain(ERROR_STREAM_CAPTURE_UNSUPPORTED, "the null stream cannot capture");
        }
        if (stream.status != CAPTURE_NONE) {
            return complain(ERROR_INVALID_VALUE, "the stream captures already");
        }
        stream.status = CAPTURE_ACTIVE;
        stream.mode = mode;
        stream.capturer = pthread_self();
        stream.captured = std::make_shared<Sequence>();
        return SUCCESS;
    });
}

EXPORT Result cuStreamEndCapture(Stream *handle, Graph **graph) {
    return call_on(handle, [&](Stream &stream) -> Result {
        *graph = nullptr;
        if (stream.status == CAPTURE_NONE) {
            return ERROR_STREAM_CAPTURE_UNMATCHED;
        }
        if (stream.mode != CAPTURE_RELAXED && !pthread_equal(stream.capturer, pthread_self())) {
            return ERROR_STREAM_CAPTURE_WRONG_THREAD;
        }
        CaptureStatus status = stream.status;
        stream.status = CAPTURE_NONE;
        auto operations = std::move(stream.captured);
        if (status == CAPTURE_INVALIDATED) {
            return ERROR_STREAM_CAPTURE_INVALIDATED;
        }
        *graph = new Graph{std::move(operations)};
        return SUCCESS;
    });
}

EXPORT Result cuStreamIsCapturing(Stream *handle, CaptureStatus *status) {
    return call_on(handle, [&](Stream &stream) {
        *status = stream.status;
        return SUCCESS;
    });
}

EXPORT Result cuGraphInstantiateWithFlags(Graph **executable, Graph *graph, u64) {
    return call([&] {
        if (graph == nullptr) {
            return ERROR_INVALID_VALUE;
        }
        *executable = new Graph(*graph);
        return SUCCESS;
    });
}

// Launches that wait in a stream keep its operations.
static Result destroy(Graph *graph) {
    return call([&] {
        delete graph;
        return graph != nullptr ? SUCCESS : ERROR_INVALID_VALUE;
    });
}
EXPORT Result cuGraphDestroy(Graph *graph) { return destroy(graph); }
EXPORT Result cuGraphExecDestroy(Graph *executable) { return destroy(executable); }

EXPORT Result cuGraphLaunch(Graph *executable, Stream *handle) {
    return call_on(handle, [&](Stream &stream) -> Result {
        if (executable == nullptr) {
            return ERROR_INVALID_VALUE;
        }
        device().graph_launches += 1;
        return stream.add(executable->operations);
    });
}

EXPORT Result cuGraphUpload(Graph *executable, Stream *handle) {
    return call_on(handle, [&](Stream &) { return executable != nullptr ? SUCCESS : ERROR_INVALID_VALUE; });
}

EXPORT Result cuGraphGetNodes(Graph *graph, void **nodes, size_t *count) {
    return call([&] {
        if (graph == nullptr || nodes != nullptr) {
            return ERROR_NOT_SUPPORTED;
        }
        *count = graph->operations->size();
        return SUCCESS;
    });
}
