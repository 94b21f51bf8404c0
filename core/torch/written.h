// What an operator does to the tensors that it is given, as far as its schema and the tables of torch/written.cc know.
#ifndef LUASIGHT_TORCH_WRITTEN_H
#define LUASIGHT_TORCH_WRITTEN_H
#include <ATen/core/function_schema.h>
#include <cstdint>
#include <string>

namespace luasight {

// Arguments that a call may change in place, a bit for each.
struct Written {
  uint32_t declared = 0;    // by the schema
  uint32_t undeclared = 0;  // by the operator nevertheless
  int unless = -1;          // the argument that, where it is false, rules the undeclared ones out; -1: none
};

Written written_by_schema(const std::string& name, const c10::FunctionSchema& schema);

// The result lies in the memory of the first argument, though the schema does not say so.
bool gives_undeclared_views(const std::string& name);

// The operator finds its result by numbers that count from the begin of the memory, or beyond the tensor that it is given.
bool goes_by_places(const std::string& name);

}  // namespace luasight
#endif
