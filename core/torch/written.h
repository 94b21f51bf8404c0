// What an operator does to its tensor arguments, as far as its schema and the tables of torch/written.cc know.
#ifndef LUASIGHT_TORCH_WRITTEN_H
#define LUASIGHT_TORCH_WRITTEN_H
#include <ATen/core/function_schema.h>
#include <cstdint>
#include <string>

namespace luasight {

// The arguments that a call of an operator may change in place: bit i is set for argument i.
struct Written {
  uint32_t declared = 0;    // the arguments that the schema marks as changed
  uint32_t undeclared = 0;  // the arguments that change although the schema does not say so
  int unless = -1;          // the index of a bool argument, or -1; a call that passes false does not change `undeclared`
};

Written written_by_schema(const std::string& name, const c10::FunctionSchema& schema);

// Whether the result of an operator lies in the memory of its first argument although the schema does not say so.
bool returns_undeclared_views(const std::string& name);

// Whether the result of an operator may be one of its tensor arguments, or lie in its memory, although the schema does not say so: dropout
// that does nothing gives back its input.
bool may_return_arguments(const std::string& name);

// Whether an operator with two operands computes whole numbers in the dtype of its tensor, cutting off the bits of a larger number beside it.
bool cuts_numbers(const std::string& name);

// Whether such an operator compares its operands, so that a negative number beside a tensor without negative numbers means what it says.
bool compares_numbers(const std::string& name);

// Whether numbers among the arguments of an operator say where in memory its result is, as for as_strided. The result may then lie outside
// of the tensor argument.
bool goes_by_places(const std::string& name);

}  // namespace luasight
#endif
