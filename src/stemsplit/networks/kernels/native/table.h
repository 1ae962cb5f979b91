// The kernels of one instruction set.
#pragma once

#include "block.h"
#include "compare.h"
#include "exchange.h"
#include "heads.h"
#include "kernels.h"
#include "scan_gradient.h"
#include "selective.h"
#include "split.h"

namespace {

constexpr stemsplit_kernels TABLE = {VW, PANEL, scratch_words, sequence, split_words, split, head_words, head, exchange_words,
                                     exchange, selective_words, selective, scan_words, parameter_words, pack_scan, unpack_scan,
                                     {scan<float>, scan<bf16>}, {scan_gradient<float>, scan_gradient<bf16>}, compare_words,
                                     compare};

}  // namespace
