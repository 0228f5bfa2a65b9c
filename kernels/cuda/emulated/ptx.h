// What the driver reads of PTX: version and target, and of each entry its parameters' sizes, its limit of threads and
// its static shared memory.
#pragma once
#include <map>
#include <string>
#include <vector>

namespace emulated {

struct Entry {
    std::vector<size_t> parameter_sizes;
    // Of .maxntid or .reqntid: 0 where the entry has none.
    unsigned threads = 0;
    // Static shared memory.
    size_t shared_bytes = 0;
};

struct Ptx {
    // 90 is 9.0, and 80 is sm_80; 0 where the text has none.
    unsigned version = 0, target = 0;
    std::map<std::string, Entry> entries;
};

Ptx read_ptx(const std::string &text);

} // namespace emulated
