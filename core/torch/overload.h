// The overload of an operator that fits the arguments of a call, and the arguments by their place in its schema.
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

struct Matched {  // the arguments of a stream by their place in a schema
  Given given[MOST_ARGUMENTS];
};

// The overload that fits a stream best, NULL where none does. Where a node stands, `kinds` gives the ls_kind expected of its value.
const c10::OperatorHandle* choose(const ls_op* op, const ls_value* s, int32_t n, const uint8_t* kinds, Matched* out);

// The error of a stream that fits no overload: the name or the argument that is wrong, and what the operator takes.
ls_status no_fit(const ls_op* op, const ls_value* s, int32_t n, const uint8_t* kinds);

// Which argument of the schema is called `key`; -1 where none is. Python says "input" for many a "self".
int find_argument(const c10::FunctionSchema& schema, const char* key);

}  // namespace luasight
#endif
