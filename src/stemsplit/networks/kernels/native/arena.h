// Scratch memory, handed out in whole cache lines; without memory, only counted.
#pragma once

#include "vec.h"

namespace {

struct Arena {
    float* start;  // null to count only
    ptrdiff_t used;
};

INLINE float* take(Arena& at, ptrdiff_t words) {
    float* here = at.start ? at.start + at.used : nullptr;
    at.used += round_up(words, 16) + 16;  // arrays not a power of two apart
    return here;
}

}  // namespace
