// Facts about a tensor: its shape and dtype, its memory, its numbers, and whether it shares memory with another.
#include <torch/csrc/autograd/function.h>
#include "torch/common.h"

using namespace luasight;

// ---- for the core ------------------------------------------------------------------------------------------------------

int64_t ls__tensor_version(void* tensor) {
  auto* t = static_cast<c10::TensorImpl*>(tensor);
  return t->is_inference() ? 0 : static_cast<int64_t>(t->version_counter().current_version());
}

bool ls__tensor_equal(void* a, void* b) {
  try {
    const at::Tensor x = borrow(a), y = borrow(b);
    if (x.scalar_type() != y.scalar_type() || x.device() != y.device() || x.sizes() != y.sizes()) return false;
    if (x.equal(y)) return true;
    return (at::isFloatingType(x.scalar_type()) || at::isComplexType(x.scalar_type())) &&
           x.eq(y).logical_or(x.ne(x).logical_and(y.ne(y))).all().item<bool>();
  } catch (const std::exception&) {
    return false;
  }
}

ls_status ls__tensor_raw(void* tensor, ls_value* keep, const void** data) {
  return guarded("reading the numbers of a tensor", [&] {
    auto t = plain(borrow(tensor).detach()).cpu().contiguous();
    *data = t.data_ptr();
    *keep = new_value(t);
    return LS_OK;
  });
}

ls_status ls__tensor_sizes(void* tensor, ls_value* out) {
  return guarded("the shape of a tensor", [&] {
    auto sizes = static_cast<c10::TensorImpl*>(tensor)->sizes();
    ls_status status = ls__seq_new(LS_LIST, static_cast<int32_t>(sizes.size()), out);
    if (status) return status;
    auto* items = ls__seq_items(out);
    for (size_t i = 0; i < sizes.size(); i++) {
      items[i].kind = LS_INT;
      items[i].as.i = sizes[i];
    }
    return LS_OK;
  });
}

// ---- for everybody -----------------------------------------------------------------------------------------------------

ls_status ls_tensor_describe(const ls_value* tensor, ls_tensor_info* out) {
  LS__NEED(tensor && out);
  ls_status status = need_tensor(tensor);
  if (status) return status;
  return guarded("looking at a tensor", [&] {
    auto t = borrow(tensor->as.p);
    if (t.dim() > 64) return ls__fail(LS_ERROR_SHAPE, "a tensor has %d dimensions, but at most 64 are possible", static_cast<int>(t.dim()));
    ls_tensor_info info{};
    info.elements = t.numel();
    info.bytes = t.has_storage() ? static_cast<int64_t>(t.storage().nbytes()) : 0;
    info.version = ls__tensor_version(tensor->as.p);
    info.dtype = dtype_name(t.scalar_type());
    auto device = t.device();
    if (device.is_cpu()) {
      info.device = "cpu";
    } else {
      info.device = ls__intern_fixed(device.str().c_str());
      if (!info.device) return ls__fail(LS_ERROR_MEMORY, "out of memory for the name of a device");
    }
    info.dims = static_cast<int32_t>(t.dim());
    info.requires_grad = t.requires_grad();
    info.is_leaf = t.is_leaf();
    bool dense = t.layout() == at::kStrided;
    info.is_contiguous = dense && t.is_contiguous();
    info.is_lazy = dense ? is_lazy(t) : 1 + static_cast<int32_t>(t.layout());
    for (int32_t i = 0; i < info.dims; i++) {
      info.shape[i] = t.size(i);
      info.strides[i] = dense ? t.stride(i) : 0;
    }
    *out = info;
    return LS_OK;
  });
}

const char* ls_tensor_grad_fn(const ls_value* tensor) {
  try {
    if (!tensor || tensor->kind != LS_TENSOR || !tensor->as.p) return nullptr;
    auto node = borrow(tensor->as.p).grad_fn();
    if (!node) return nullptr;
    return ls__intern_fixed(node->name().c_str());
  } catch (...) {
    return nullptr;
  }
}

ls_status ls_tensor_pointer(const ls_value* tensor, void** out) {
  LS__NEED(tensor && out);
  ls_status status = need_tensor(tensor);
  if (status) return status;
  return guarded("the memory of a tensor", [&] {
    auto t = borrow(tensor->as.p);
    if (!t.device().is_cpu())
      return ls__fail(LS_ERROR_ARGUMENT, "the memory of a tensor on %s cannot be reached; x:cpu() copies it", t.device().str().c_str());
    if (is_lazy(t))
      return ls__fail(LS_ERROR_ARGUMENT, "the numbers of this tensor are not those in its memory (%s); x:clone() has memory of its own",
                      t._is_zerotensor() ? "zeros that take none" : t.is_neg() ? "it is a negative" : "it is a conjugate");
    *out = t.data_ptr();
    return LS_OK;
  });
}

ls_status ls_tensor_plain(const ls_value* tensor, ls_value* out) {
  LS__NEED(tensor && out);
  ls_status status = need_tensor(tensor);
  if (status) return status;
  return guarded("the numbers of a tensor", [&] {
    auto t = borrow(tensor->as.p);
    *out = new_value(is_lazy(t) ? plain(t.detach()) : t);
    return LS_OK;
  });
}

ls_status ls_tensor_item(const ls_value* tensor, ls_value* out) {
  LS__NEED(tensor && out);
  ls_status status = need_tensor(tensor);
  if (status) return status;
  return guarded("item", [&] {
    auto t = borrow(tensor->as.p);
    if (t.numel() != 1)
      return ls__fail(LS_ERROR_SHAPE, "item needs a tensor of one element, this one has %lld elements", static_cast<long long>(t.numel()));
    auto number = t.item();
    ls_value v{};
    if (number.isBoolean()) {
      v.kind = LS_BOOL;
      v.as.i = number.toBool();
    } else if (number.isIntegral(false)) {
      v.kind = LS_INT;
      v.as.i = number.toLong();
    } else if (number.isFloatingPoint()) {
      v.kind = LS_FLOAT;
      v.as.f = ls__number(number.toDouble());
    } else {
      return ls__fail(LS_ERROR_ARGUMENT, "Lua has no complex numbers; torch.view_as_real(x) has their real and imaginary parts");
    }
    *out = v;
    return LS_OK;
  });
}

int32_t ls_tensor_same(const ls_value* a, const ls_value* b) {
  return a && b && a->kind == LS_TENSOR && b->kind == LS_TENSOR && a->as.p == b->as.p;
}
