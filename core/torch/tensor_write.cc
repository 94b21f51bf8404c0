// Changes a tensor: its gradient, its data, whether autograd records for it. Also runs the backward that computes gradients.
#include "torch/common.h"

using namespace luasight;

static ls_status not_read_only(const ls_value* v) {
  return v->aux != LS_READ_ONLY ? LS_OK
                                : ls__fail(LS_ERROR_ARGUMENT, "the call would change a parameter of the model, or a tensor that the script gave to the trace; clone it first");
}

ls_status ls_tensor_set_data(const ls_value* tensor, const ls_value* data) {
  ls_status status = need_tensor(tensor);
  if (!status) status = need_tensor(data);
  if (!status) status = not_read_only(tensor);
  if (status) return status;
  return guarded("giving a tensor other data", [&] {
    borrow(tensor->as.p).set_data(borrow(data->as.p));
    return LS_OK;
  });
}

ls_status ls_tensor_require_grad(const ls_value* tensor, int32_t on) {
  ls_status status = need_tensor(tensor);
  if (!status) status = not_read_only(tensor);
  if (status) return status;
  return guarded("requires_grad", [&] {
    borrow(tensor->as.p).requires_grad_(on != 0);
    return LS_OK;
  });
}

// ---- gradients ---------------------------------------------------------------------------------------------------------

ls_status ls_tensor_grad(const ls_value* tensor, ls_value* out) {
  LS__NEED(tensor && out);
  ls_status status = need_tensor(tensor);
  if (status) return status;
  return guarded("the gradient of a tensor", [&] {
    auto t = borrow(tensor->as.p);
    // Autograd keeps a gradient for leaves and where retain_grad was called; for other tensors libtorch's grad() would print a warning.
    *out = t.is_leaf() || t.retains_grad() ? new_value(t.grad()) : ls_value{};
    return LS_OK;
  });
}

ls_status ls_tensor_set_grad(const ls_value* tensor, const ls_value* grad) {
  LS__NEED(tensor && grad);
  ls_status status = need_tensor(tensor);
  if (status) return status;
  return guarded("setting a gradient", [&] {
    auto t = borrow(tensor->as.p);
    if (grad->kind == LS_NONE) {
      t.mutable_grad() = at::Tensor();
      return LS_OK;
    }
    if (need_tensor(grad)) return ls__fail(LS_ERROR_ARGUMENT, "the gradient of a tensor must be a tensor or nil");
    auto g = borrow(grad->as.p);
    if (g.sizes() != t.sizes() || g.scalar_type() != t.scalar_type() || g.device() != t.device())
      return ls__fail(LS_ERROR_SHAPE, "a gradient must have the shape, dtype and device of its tensor");
    t.mutable_grad() = g;
    return LS_OK;
  });
}

ls_status ls_tensor_backward(const ls_value* tensor, const ls_value* grad, int32_t retain_graph) {
  LS__NEED(tensor && grad);
  ls_status status = need_tensor(tensor);
  if (!status && grad->kind != LS_NONE) status = need_tensor(grad);
  if (!status && grad->kind == LS_TENSOR) status = ls__tensor_same_sizes(grad->as.p, tensor->as.p);
  if (status) return status;
  return guarded("backward", [&] {
    at::Tensor given = grad->kind == LS_TENSOR ? borrow(grad->as.p) : at::Tensor();
    borrow(tensor->as.p).backward(given, retain_graph != 0);
    return LS_OK;
  });
}
