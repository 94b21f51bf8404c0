// Calls an operator through libtorch's dispatcher. A matrix product is computed by the faster of two libraries. Where only shapes are
// wanted and libtorch cannot tell them, the operator runs on zeros. Where an operator fails, the tensors to which it writes keep their
// shapes.
#include "torch/boxed.h"
#include <ATen/DimVector.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/zeros.h>
#include "torch/torch.h"

using c10::FunctionSchema;
using c10::OperatorHandle;

// ---- shapes only -------------------------------------------------------------------------------------------------------

static thread_local bool scanning;

void ls__scan_enter(bool on) { scanning = on; }

namespace luasight {

namespace {

// Returns a tensor of zeros with the shape of `t` if `t` has a shape but no numbers (device meta), else `t` itself. Where the operator
// does not write to the tensor, one zero in memory serves for all elements.
at::Tensor stand_in(const at::Tensor& t, bool written) {
  if (!t.defined() || !t.is_meta()) return t;
  auto options = t.options().device(at::kCPU);
  return written ? at::zeros(t.sizes(), options) : at::zeros({}, options).expand(t.sizes());
}

// Runs an operator on zeros, because libtorch cannot tell the shapes of its results without numbers. Only the shapes of the results
// are kept.
void call_with_stand_ins(const OperatorHandle& handle, torch::jit::Stack* stack) {
  auto& arguments = handle.schema().arguments();
  for (size_t i = 0; i < stack->size() && i < arguments.size(); i++) {
    auto& v = (*stack)[i];
    bool written = arguments[i].alias_info() && arguments[i].alias_info()->isWrite();
    if (v.isTensor()) v = stand_in(v.toTensor(), written);
    else if (v.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& t : v.toTensorVector()) list.push_back(stand_in(t, written));
      v = std::move(list);
    }
  }
  handle.callBoxed(stack);
  for (auto& v : *stack)
    if (v.isTensor() && v.toTensor().defined()) v = v.toTensor().to(at::kMeta);
}

at::Tensor shape_only(const at::Tensor& t) {
  if (!t.defined() || t.is_meta() || t.layout() != at::kStrided) return t;
  return at::empty_strided(t.sizes(), t.strides(), t.options().device(at::kMeta));
}

// Takes the numbers out of a call during a scan: a tensor of a forward that is neither a parameter nor a buffer, and a call that makes a
// tensor.
void without_numbers(const OperatorHandle& handle, torch::jit::Stack* stack) {
  auto& arguments = handle.schema().arguments();
  bool has_tensor = false;
  for (auto& v : *stack) {
    has_tensor = has_tensor || v.isTensor() || v.isTensorList();
    if (v.isTensor()) v = shape_only(v.toTensor());
    else if (v.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& t : v.toTensorVector()) list.push_back(shape_only(t));
      v = std::move(list);
    }
  }
  for (size_t i = 0; !has_tensor && i < arguments.size() && i < stack->size(); i++)
    if (arguments[i].name() == "device") (*stack)[i] = c10::Device(at::kMeta);
}

void call_or_stand_in(const OperatorHandle& handle, torch::jit::Stack* stack) {
  if (!scanning) return handle.callBoxed(stack);
  without_numbers(handle, stack);
  torch::jit::Stack again(*stack);
  try {
    handle.callBoxed(stack);
  } catch (const c10::NotImplementedError&) {
    *stack = std::move(again);
    call_with_stand_ins(handle, stack);
  }
}

// ---- tensors that are written to ---------------------------------------------------------------------------------------

// Keeps the shapes of the tensors that an operator writes to. Libtorch sets the new shape of such a tensor (x:resize_(...), {
// out = x }) before it has the memory for it. Where the operator fails, `put_back` restores the shapes, so that no tensor is
// larger than its memory.
class Shapes {
 public:
  Shapes(const FunctionSchema& schema, const torch::jit::Stack& stack) {
    auto& arguments = schema.arguments();
    for (size_t i = 0; i < arguments.size(); i++) {
      if (!arguments[i].alias_info() || !arguments[i].alias_info()->isWrite()) continue;
      if (stack[i].isTensor()) keep(stack[i].toTensor());
      else if (stack[i].isTensorList())
        for (const at::Tensor& t : stack[i].toTensorVector()) keep(t);
    }
  }

  void put_back() const {
    for (auto& shape : shapes) {
      auto* t = shape.tensor.unsafeGetTensorImpl();
      if (t->sizes() == shape.sizes && t->strides() == shape.strides && t->storage_offset() == shape.offset &&
          t->storage().unsafeGetStorageImpl() == shape.storage.unsafeGetStorageImpl())
        continue;
      t->set_storage_keep_dtype(shape.storage);
      t->set_sizes_and_strides(shape.sizes, shape.strides, shape.offset);
    }
  }

 private:
  struct Shape {
    at::Tensor tensor;
    c10::Storage storage;
    at::DimVector sizes, strides;
    int64_t offset;
  };
  c10::SmallVector<Shape, 1> shapes;

  void keep(const at::Tensor& t) {
    if (t.defined() && t.layout() == at::kStrided && t.has_storage())
      shapes.push_back({t, t.storage(), at::DimVector(t.sizes()), at::DimVector(t.strides()), t.storage_offset()});
  }
};

}  // namespace

bool writes(const FunctionSchema& schema) {
  for (auto& argument : schema.arguments())
    if (argument.alias_info() && argument.alias_info()->isWrite()) return true;
  return false;
}

void call_boxed(const OperatorHandle& handle, Product product, bool is_writing, torch::jit::Stack* stack) {
  if (product != Product::none && multiply(product, stack)) return;
  if (!is_writing) return call_or_stand_in(handle, stack);
  Shapes before(handle.schema(), *stack);
  try {
    call_or_stand_in(handle, stack);
  } catch (...) {
    before.put_back();
    throw;
  }
}

}  // namespace luasight
