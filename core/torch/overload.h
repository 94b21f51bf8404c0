// Finds the overload of an operator that fits the arguments of a call, and puts the arguments into the order of its schema.
#ifndef LUASIGHT_TORCH_OVERLOAD_H
#define LUASIGHT_TORCH_OVERLOAD_H
#include "torch/common.h"
#include "torch/op.h"

namespace luasight {

struct Given {  // an argument of a call: the `n` values at `at` in a stream of arguments; `at` is NULL if the argument is left out
  const ls_value* at = nullptr;
  int32_t n = 0;
};

enum { MOST_ARGUMENTS = 32 };

struct Matched {  // the arguments of a call in the order of a schema
  Given given[MOST_ARGUMENTS];
};

// The overload of `op` that best fits the stream of arguments `s`, NULL where none fits. `kinds` has for each node the ls_kind that its
// value will have.
const c10::OperatorHandle* choose(const ls_op* op, const ls_value* s, int32_t n, const uint8_t* kinds, Matched* out);

// Fails for a stream of arguments that fits no overload of `op`. The error says which name or argument is wrong, and what `op` takes.
ls_status no_fit(const ls_op* op, const ls_value* s, int32_t n, const uint8_t* kinds);

// The index of the argument `key` in the schema, -1 where the schema has no such argument. "input", "axis" and "keepdims" mean "self",
// "dim" and "keepdim".
int find_argument(const c10::FunctionSchema& schema, const char* key);

}  // namespace luasight
#endif
