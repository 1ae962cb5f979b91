#include "table.h"

const stemsplit_kernels* stemsplit_portable() { return &TABLE; }
