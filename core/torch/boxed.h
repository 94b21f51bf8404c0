// Makes one call of an operator through libtorch's dispatcher, with the arguments on a stack of libtorch.
#ifndef LUASIGHT_TORCH_BOXED_H
#define LUASIGHT_TORCH_BOXED_H
#include "torch/product.h"

namespace luasight {

// Whether a schema declares that its operator changes an argument.
bool writes(const c10::FunctionSchema& schema);

// Calls the operator `handle`; `product` is product_of(handle), `is_writing` is writes(handle.schema()). Where the operator throws,
// the tensors to which it writes keep their shapes.
void call_boxed(const c10::OperatorHandle& handle, Product product, bool is_writing, torch::jit::Stack* stack);

}  // namespace luasight
#endif
