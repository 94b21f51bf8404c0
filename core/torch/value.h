// Values of argument streams as libtorch's IValues, and back. The type that a schema declares decides the conversion.
#ifndef LUASIGHT_TORCH_VALUE_H
#define LUASIGHT_TORCH_VALUE_H
#include <ATen/core/function_schema.h>
#include <ATen/core/ivalue.h>
#include "torch/common.h"

namespace luasight {

// How well the stream value [s, s + n) fits a declared type: 0 exactly, more the further away, -1 not at all. Where a node
// stands, `kinds` gives the ls_kind expected of its value (LS_NONE: unknown).
int fit(const c10::Type& type, c10::optional<int32_t> list_size, const ls_value* s, int32_t n, const uint8_t* kinds);

// Converts a value that fits and holds no node.
c10::IValue convert(const c10::Type& type, c10::optional<int32_t> list_size, const ls_value* s, int32_t n);

// A result as a value; throws where libtorch gives what Lua cannot hold.
ls_value from_ivalue(c10::IValue&& v);

uint8_t kind_of(const c10::Type& type);  // the ls_kind of a result of that type, LS_NONE where it depends

}  // namespace luasight
#endif
