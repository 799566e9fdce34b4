#pragma once
// Conversions between fp32 and the 16-bit floats for kernels. Internal linkage, so that ISA files
// may include it.

#include "tensor/half.h"
