// Converts values of streams of arguments to IValues, the values of libtorch, and back. The declared type of
// an argument decides the conversion.
#ifndef LUASIGHT_TORCH_VALUE_H
#define LUASIGHT_TORCH_VALUE_H
#include <ATen/core/function_schema.h>
#include <ATen/core/ivalue.h>
#include "torch/common.h"

namespace luasight {

// The cost of passing the stream value [s, s + n) as a declared type: 0 where it fits exactly, more where it needs a
// conversion, -1 where it does not fit. `kinds` has for each node the ls_kind that its value will have (LS_NONE where unknown).
int fit(const c10::Type& type, c10::optional<int32_t> list_size, const ls_value* s, int32_t n, const uint8_t* kinds);

// Whether, since the last call of this function, a value did not fit since it is a tensor that needs a gradient, and a number is wanted.
bool refused_for_gradient();

// Converts the stream value [s, s + n), which fits the type and has no node in it.
c10::IValue convert(const c10::Type& type, c10::optional<int32_t> list_size, const ls_value* s, int32_t n);

// Converts a result of an operator to a value; throws where Lua cannot hold such a result.
ls_value from_ivalue(c10::IValue&& v);

uint8_t kind_of(const c10::Type& type);  // the ls_kind of a result of this type, LS_NONE where it can be of several kinds

}  // namespace luasight
#endif
