// The processor's matrix unit (AMX): C = or += A B in tiles of at most 16 rows and 64 bytes, products in bfloat16, sums in
// float. Cells lie as the unit wants them: two consecutive inner values of one output in 4 bytes.
#pragma once

#include "vec.h"

namespace {

#if defined(STEMSPLIT_SET_AMX)

constexpr ptrdiff_t TILE_CELLS = 16;  // inner cells of a whole tile
constexpr ptrdiff_t CELL_BYTES = 4;

// The instructions want numbers of tiles, not names: 0, 1 sums; 2 left and 3, 4 right factor; 5, 6, 7 the same, for the rest
// of an inner axis that is no multiple of a tile.
struct TileShapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

// What this thread's tiles are shaped for: rows and rest; -1 for nothing.
static thread_local int tiles_shaped_for __attribute__((tls_model("initial-exec"))) = -1;

INLINE void shape_tiles(int rows, int rest) {
    const int wanted = rows * (int)TILE_CELLS + rest;
    if (wanted == tiles_shaped_for) return;
    TileShapes shapes = {};
    shapes.palette = 1;
    const auto shape = [&](int tile, int height, int width) {
        shapes.rows[tile] = (uint8_t)height;
        shapes.row_bytes[tile] = (uint16_t)(width * CELL_BYTES);
    };
    shape(0, rows, VW), shape(1, rows, VW), shape(2, rows, TILE_CELLS), shape(3, TILE_CELLS, VW), shape(4, TILE_CELLS, VW);
    if (rest) shape(5, rows, rest), shape(6, rest, VW), shape(7, rest, VW);
    _tile_loadconfig(&shapes);
    tiles_shaped_for = wanted;
}

// Tiles are shaped anew after this begins, since others use them too, and given back when it ends.
struct TileUse {
    TileUse() { tiles_shaped_for = -1; }
    ~TileUse() {
        if (tiles_shaped_for >= 0) _tile_release();
        tiles_shaped_for = -1;
    }
};

// `rows` of A against one vector of outputs, or two.
template <int V>
__attribute__((noinline)) void tile_product(bool add, ptrdiff_t rows, ptrdiff_t inner, const float* a, ptrdiff_t lda,
                                            const float* b, ptrdiff_t ldb, float* c, ptrdiff_t ldc) {
    const ptrdiff_t rest = inner % TILE_CELLS, whole = inner - rest;
    lda *= CELL_BYTES, ldb *= CELL_BYTES, ldc *= CELL_BYTES;
    shape_tiles((int)rows, (int)rest);
    if (add) {
        _tile_loadd(0, c, ldc);
        if (V > 1) _tile_loadd(1, c + VW, ldc);
    } else {
        _tile_zero(0);
        if (V > 1) _tile_zero(1);
    }
    const char* right = (const char*)b;
    for (ptrdiff_t k = 0; k < whole; k += TILE_CELLS, right += TILE_CELLS * ldb) {
        _tile_loadd(2, a + k, lda);
        _tile_loadd(3, right, ldb);
        _tile_dpbf16ps(0, 2, 3);
        if (V > 1) {
            _tile_loadd(4, right + VW * CELL_BYTES, ldb);
            _tile_dpbf16ps(1, 2, 4);
        }
    }
    if (rest) {
        _tile_loadd(5, a + whole, lda);
        _tile_loadd(6, right, ldb);
        _tile_dpbf16ps(0, 5, 6);
        if (V > 1) {
            _tile_loadd(7, right + VW * CELL_BYTES, ldb);
            _tile_dpbf16ps(1, 5, 7);
        }
    }
    _tile_stored(0, c, ldc);
    if (V > 1) _tile_stored(1, c + VW, ldc);
}

#else

struct TileUse {
    TileUse() {}  // a constructor, so that no compiler calls the variable unused
};

#endif

}  // namespace
