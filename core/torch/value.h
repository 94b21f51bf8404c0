// Converts values of argument streams to libtorch's IValues, and back. The type that a schema declares decides the conversion.
#ifndef LUASIGHT_TORCH_VALUE_H
#define LUASIGHT_TORCH_VALUE_H
#include <ATen/core/function_schema.h>
#include <ATen/core/ivalue.h>
#include "torch/common.h"

namespace luasight {

// The cost of passing the stream value [s, s + n) as a declared type: 0 where it fits exactly, more where it needs a
// conversion, -1 where it does not fit. `kinds` has for each node the ls_kind that its value will have (LS_NONE where unknown).
int fit(const c10::Type& type, c10::optional<int32_t> list_size, const ls_value* s, int32_t n, const uint8_t* kinds);

// Converts a value that fits and holds no node.
c10::IValue convert(const c10::Type& type, c10::optional<int32_t> list_size, const ls_value* s, int32_t n);

// Converts a result to a value; throws where Lua cannot hold it.
ls_value from_ivalue(c10::IValue&& v);

uint8_t kind_of(const c10::Type& type);  // the ls_kind of a result of that type, LS_NONE where it can be of several

}  // namespace luasight
#endif
