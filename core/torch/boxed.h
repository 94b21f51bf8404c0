// One call of an operator through libtorch's dispatcher, with the arguments on libtorch's stack.
#ifndef LUASIGHT_TORCH_BOXED_H
#define LUASIGHT_TORCH_BOXED_H
#include "torch/product.h"

namespace luasight {

bool writes(const c10::FunctionSchema& schema);  // whether the schema declares that an argument is changed

// Calls the operator `handle`; `product` is product_of(handle), `is_writing` is writes(its schema). Where it throws, the
// tensors that it writes to keep their shapes.
void call_boxed(const c10::OperatorHandle& handle, Product product, bool is_writing, torch::jit::Stack* stack);

}  // namespace luasight
#endif
