// What an operator does to its tensor arguments, as far as its schema and the tables of torch/written.cc know.
#ifndef LUASIGHT_TORCH_WRITTEN_H
#define LUASIGHT_TORCH_WRITTEN_H
#include <ATen/core/function_schema.h>
#include <cstdint>
#include <string>

namespace luasight {

// The arguments that a call may change in place, one bit for each.
struct Written {
  uint32_t declared = 0;    // those that the schema declares
  uint32_t undeclared = 0;  // those that the operator changes although the schema does not say so
  int unless = -1;          // the index of an argument: where it is false, the undeclared ones do not change; -1: there is none
};

Written written_by_schema(const std::string& name, const c10::FunctionSchema& schema);

// Whether the result lies in the memory of the first argument although the schema does not say so.
bool gives_undeclared_views(const std::string& name);

// Whether numbers in the arguments place the result, counted from the beginning of the memory or beyond the tensor argument.
bool goes_by_places(const std::string& name);

}  // namespace luasight
#endif
