// A reader of PTX entries. Of what stands in their bodies only shared variables count.
#include "ptx.h"
#include <ctype.h>
#include <sstream>
#include <stdlib.h>

namespace emulated {
namespace {

// Names and numbers with their dots; everything else that is no space is a token of one character.
std::vector<std::string> tokens_of(const std::string &text) {
    std::vector<std::string> tokens;
    auto is_word = [](char c) { return isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '$'; };
    for (size_t at = 0; at < text.size();) {
        if (text.compare(at, 2, "//") == 0) {
            at = text.find('\n', at);
            at = at == std::string::npos ? text.size() : at;
        } else if (is_word(text[at])) {
            size_t begin = at;
            while (at < text.size() && is_word(text[at])) {
                at++;
            }
            tokens.push_back(text.substr(begin, at - begin));
        } else {
            if (!isspace(static_cast<unsigned char>(text[at]))) {
                tokens.push_back(text.substr(at, 1));
            }
            at++;
        }
    }
    return tokens;
}

// Of .u32, .b8 and the like, in bytes; 0 if it is no type.
size_t size_of_type(const std::string &token) {
    if (token.size() < 3 || token[0] != '.' || std::string("usfb").find(token[1]) == std::string::npos) {
        return 0;
    }
    char *end;
    unsigned long bits = strtoul(token.c_str() + 2, &end, 10);
    return *end == '\0' ? bits / 8 : 0;
}

class Reader {
  public:
    explicit Reader(const std::string &text) : tokens(tokens_of(text)) {}

    Ptx read() {
        Ptx ptx;
        while (at < tokens.size()) {
            std::string token = next();
            if (token == ".version") {
                ptx.version = static_cast<unsigned>(strtod(next().c_str(), nullptr) * 10 + 0.5);
            } else if (token == ".target") {
                std::string target = next();
                ptx.target = target.compare(0, 3, "sm_") == 0 ? atoi(target.c_str() + 3) : 0;
            } else if (token == ".entry") {
                std::string name = next();
                ptx.entries[name] = read_entry();
            }
        }
        return ptx;
    }

  private:
    std::string next() { return at < tokens.size() ? tokens[at++] : std::string(); }

    // After its name: parameters in brackets, then directives, then its body.
    Entry read_entry() {
        Entry entry;
        for (std::string token = next(); !token.empty() && token != "{"; token = next()) {
            if (token == "(") {
                read_parameters(entry);
            } else if (token == ".maxntid" || token == ".reqntid") {
                entry.threads = 1;
                do {
                    entry.threads *= atoi(next().c_str());
                } while (at < tokens.size() && tokens[at] == "," && next() == ",");
            }
        }
        read_body(entry);
        return entry;
    }

    // Up to the bracket that closes it; of an instruction's operands .shared is no token of its own.
    void read_body(Entry &entry) {
        int depth = 1;
        for (std::string token = next(); !token.empty(); token = next()) {
            depth += token == "{" ? 1 : token == "}" ? -1 : 0;
            if (depth == 0) {
                return;
            }
            if (token == ".shared") {
                entry.shared_bytes += read_variable();
            }
        }
    }

    // A variable's bytes: `.align 4 .b8 name[128];`.
    size_t read_variable() {
        size_t bytes = 0;
        for (std::string token = next(); !token.empty() && token != ";"; token = next()) {
            if (size_t size = size_of_type(token)) {
                bytes = size;
            } else if (token == "[") {
                bytes *= atoi(next().c_str());
            }
        }
        return bytes;
    }

    void read_parameters(Entry &entry) {
        for (std::string token = next(); !token.empty() && token != ")"; token = next()) {
            if (token == ".param") {
                entry.parameter_sizes.push_back(0);
            } else if (entry.parameter_sizes.empty()) {
                return;
            } else if (size_t size = size_of_type(token)) {
                entry.parameter_sizes.back() = size;
            } else if (token == "[") {
                entry.parameter_sizes.back() *= atoi(next().c_str());
            }
        }
    }

    std::vector<std::string> tokens;
    size_t at = 0;
};

} // namespace

Ptx read_ptx(const std::string &text) { return Reader(text).read(); }

} // namespace emulated
