// One call of an operator through the dispatcher, with its arguments on libtorch's stack.
#ifndef LUASIGHT_TORCH_BOXED_H
#define LUASIGHT_TORCH_BOXED_H
#include "torch/product.h"

namespace luasight {

bool writes(const c10::FunctionSchema& schema);  // it declares that it changes an argument

// Calls `handle`, whose product_of and writes the caller looked up. Where it throws, tensors that it writes to keep their shapes.
void call_boxed(const c10::OperatorHandle& handle, Product product, bool is_writing, torch::jit::Stack* stack);

}  // namespace luasight
#endif
