// The overload of an operator that fits the arguments of a call, with the arguments in the order of its schema.
#ifndef LUASIGHT_TORCH_OVERLOAD_H
#define LUASIGHT_TORCH_OVERLOAD_H
#include "torch/common.h"
#include "torch/op.h"

namespace luasight {

struct Given {  // one argument in the stream
  const ls_value* at = nullptr;
  int32_t n = 0;
};

enum { MOST_ARGUMENTS = 32 };

struct Matched {  // the arguments of a stream in the order of a schema
  Given given[MOST_ARGUMENTS];
};

// The overload that fits a stream best, NULL where none fits. `kinds` has for each node the ls_kind that its value will have.
const c10::OperatorHandle* choose(const ls_op* op, const ls_value* s, int32_t n, const uint8_t* kinds, Matched* out);

// Fails for a stream that fits no overload. The error says which name or argument is wrong, and what the operator takes.
ls_status no_fit(const ls_op* op, const ls_value* s, int32_t n, const uint8_t* kinds);

// The place of the argument `key` in the schema, -1 where it has none. "input", "axis" and "keepdims" mean "self", "dim" and
// "keepdim".
int find_argument(const c10::FunctionSchema& schema, const char* key);

}  // namespace luasight
#endif
