// Tensors: making them from numbers, what can be asked of them, gradients.
#include "torch/common.h"
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/function.h>
#include <cstring>
#include <vector>

namespace luasight {

// ---- errors ------------------------------------------------------------------------------------------------------------

static void first_line(std::string* text) {
  for (const char* noise : {"[enforce fail at ", "err == 0. "})  // where in libtorch's source, and which check
    if (!text->compare(0, std::strlen(noise), noise)) text->erase(0, *noise == '[' ? text->find("] ") + 2 : std::strlen(noise));
  auto end = text->find('\n');
  if (end != std::string::npos) text->resize(end);
  while (!text->empty() && (text->back() == ' ' || text->back() == '.')) text->pop_back();
}

ls_status fail_with_exception(const char* what) {
  ls_status code = LS_ERROR_TORCH;
  std::string cause;
  try {
    throw;
  } catch (const c10::IndexError& e) {
    code = LS_ERROR_INDEX;
    cause = e.what_without_backtrace();
  } catch (const c10::Error& e) {
    cause = e.what_without_backtrace();
    if (cause.find("can't allocate memory") != std::string::npos || cause.find("out of memory") != std::string::npos)
      code = LS_ERROR_MEMORY;
  } catch (const std::bad_alloc&) {
    code = LS_ERROR_MEMORY;
    cause = "out of memory";
  } catch (const std::exception& e) {
    cause = e.what();
  } catch (...) {
    cause = "unknown exception";
  }
  first_line(&cause);
  if (code == LS_ERROR_MEMORY)
    ls__fail(code, "%s: not enough memory", what);
  else
    ls__fail(code, "%s failed", what);
  ls__fail_cause(cause.c_str());
  return code;
}

// ---- names -------------------------------------------------------------------------------------------------------------

static const struct { const char *torch, *name; } dtype_names[] = {
    {"Float", "float32"}, {"Double", "float64"}, {"Half", "float16"}, {"BFloat16", "bfloat16"}, {"Long", "int64"},
    {"Int", "int32"}, {"Short", "int16"}, {"Char", "int8"}, {"Byte", "uint8"}, {"Bool", "bool"},
    {"UInt16", "uint16"}, {"UInt32", "uint32"}, {"UInt64", "uint64"}, {"ComplexHalf", "complex32"},
    {"ComplexFloat", "complex64"}, {"ComplexDouble", "complex128"}, {"Float8_e5m2", "float8_e5m2"},
    {"Float8_e4m3fn", "float8_e4m3fn"}, {"Float8_e5m2fnuz", "float8_e5m2fnuz"}, {"Float8_e4m3fnuz", "float8_e4m3fnuz"},
    {"Float8_e8m0fnu", "float8_e8m0fnu"}, {"Float4_e2m1fn_x2", "float4_e2m1fn_x2"}, {"QInt8", "qint8"}, {"QUInt8", "quint8"},
    {"QInt32", "qint32"}};

// Names by number of the libtorch that is loaded, in the order of its enumeration.
static const std::vector<const char*>& names_by_number() {
  static const std::vector<const char*> names = [] {
    std::vector<const char*> list;
    for (int i = 0; i < static_cast<int>(at::ScalarType::NumOptions); i++) {
      const char* torch_name = c10::toString(static_cast<at::ScalarType>(i));
      const char* name = "";
      for (auto& known : dtype_names)
        if (!std::strcmp(known.torch, torch_name)) name = known.name;
      list.push_back(name);
    }
    return list;
  }();
  return names;
}

const char* dtype_name(at::ScalarType type) {
  auto i = static_cast<size_t>(type);
  return i < names_by_number().size() ? names_by_number()[i] : "";
}

bool find_dtype(const char* name, at::ScalarType* out) {
  auto& names = names_by_number();
  for (size_t i = 0; i < names.size(); i++)
    if (*name && !std::strcmp(names[i], name)) {
      *out = static_cast<at::ScalarType>(i);
      return true;
    }
  return false;
}

ls_status read_dtype(const char* name, at::ScalarType* out) {
  if (find_dtype(name, out)) return LS_OK;
  auto& names = names_by_number();
  return ls__fail(LS_ERROR_NAME, "there is no dtype \"%s\"%s", name, ls__near(name, names.data(), names.size()));
}

ls_status read_device(const char* name, at::Device* out) {
  try {
    *out = at::Device(name);
    return LS_OK;
  } catch (const std::exception&) {
    return ls__fail(LS_ERROR_NAME, "there is no device \"%s\"; devices are \"cpu\", \"cuda\", \"cuda:1\", \"meta\"", name);
  }
}

static ls_status read_options(const char* dtype, const char* device, at::TensorOptions* out) {
  at::ScalarType type;
  at::Device where(at::kCPU);
  ls_status status = read_dtype(dtype, &type);
  if (!status && device) status = read_device(device, &where);
  if (!status) *out = at::TensorOptions().dtype(type).device(where);
  return status;
}

bool is_lazy(const at::Tensor& t) { return t._is_zerotensor() || t.is_neg() || t.is_conj(); }

at::Tensor plain(const at::Tensor& t) {
  if (!is_lazy(t)) return t;
  return t._is_zerotensor() ? at::zeros_like(t) : t.resolve_conj().resolve_neg();
}

}  // namespace luasight

using namespace luasight;

// ---- references --------------------------------------------------------------------------------------------------------

void ls__tensor_retain(void* tensor) {
  ls__live_add(1);
  c10::raw::intrusive_ptr::incref(static_cast<c10::TensorImpl*>(tensor));
}

void ls__tensor_release(void* tensor) {
  ls__live_add(-1);
  c10::raw::intrusive_ptr::decref(static_cast<c10::TensorImpl*>(tensor));
}

// The bytes of its elements.
static int64_t bytes_of(void* tensor) {
  auto* t = static_cast<c10::TensorImpl*>(tensor);
  return t->device_type() == at::kMeta ? 0 : t->numel() * static_cast<int64_t>(t->itemsize());
}

static bool started;

void ls__torch_stop(void) { started = false; }

ls_status luasight::need_start() {
  return started ? LS_OK : ls__fail(LS_ERROR_STATE, "the library is not started: call ls_start first");
}

void ls__tensors_start(void) {
  started = true;
  static const ls__value_class its = {[](void* t, int32_t) { ls__tensor_retain(t); },
                                      [](void* t, int32_t) { ls__tensor_release(t); }, bytes_of};
  ls__value_define(LS_TENSOR, &its);
}

bool ls__tensor_shares(void* a, void* b) {
  if (a == b) return true;
  auto *x = static_cast<c10::TensorImpl*>(a), *y = static_cast<c10::TensorImpl*>(b);
  return x->has_storage() && y->has_storage() &&
         x->storage().unsafeGetStorageImpl() == y->storage().unsafeGetStorageImpl();
}

int64_t ls__tensor_version(void* tensor) {
  auto* t = static_cast<c10::TensorImpl*>(tensor);
  return t->is_inference() ? 0 : static_cast<int64_t>(t->version_counter().current_version());
}

bool ls__tensor_equal(void* a, void* b) {
  try {
    const at::Tensor x = borrow(a), y = borrow(b);
    return x.scalar_type() == y.scalar_type() && x.device() == y.device() && x.sizes() == y.sizes() && x.equal(y);
  } catch (const std::exception&) {
    return false;
  }
}

ls_status ls__tensor_clone(void* tensor, ls_value* out) {
  return guarded("a copy of a tensor", [&] {
    *out = give(borrow(tensor).clone());
    return LS_OK;
  });
}

ls_status ls__tensor_shape_only(void* tensor, ls_value* out) {
  return guarded("the shape of a tensor", [&] {
    *out = give(borrow(tensor).detach().to(at::kMeta));
    return LS_OK;
  });
}

ls_status ls__tensor_raw(void* tensor, ls_value* keep, const void** data) {
  return guarded("reading the numbers of a tensor", [&] {
    auto t = plain(borrow(tensor).detach()).cpu().contiguous();
    *data = t.data_ptr();
    *keep = give(t);
    return LS_OK;
  });
}

ls_status ls__tensor_map(void* data, const int64_t* shape, const int64_t* strides, int32_t dims, const char* dtype,
                         void (*done)(void*), void* context, ls_value* out) {
  c10::DataPtr memory(data, context, done, at::kCPU);  // whichever way this ends, its owner calls `done` once
  at::TensorOptions options;
  ls_status status = need_start();
  if (!status) status = read_options(dtype, nullptr, &options);
  if (status) return status;
  return guarded("a tensor on a mapped file", [&] {
    at::IntArrayRef sizes(shape, static_cast<size_t>(dims));
    auto t = strides ? at::from_blob(data, sizes, at::IntArrayRef(strides, sizes.size()), options)
                     : at::from_blob(data, sizes, options);
    auto bytes = t.storage().nbytes();
    c10::Storage storage(c10::Storage::use_byte_size_t(), bytes, std::move(memory), nullptr, false);
    at::AutoDispatchBelowADInplaceOrView plain;  // this is no change: the version stays 0
    t.set_(storage, 0, t.sizes(), t.strides());
    *out = give(std::move(t));
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

// ---- what can be asked -------------------------------------------------------------------------------------------------

static ls_status need_tensor(const ls_value* v) {
  return v && v->kind == LS_TENSOR && v->as.p ? LS_OK : ls__fail(LS_ERROR_ARGUMENT, "this is no tensor");
}

ls_status ls_tensor_describe(const ls_value* tensor, ls_tensor_info* out) {
  LS__NEED(tensor && out);
  ls_status status = need_tensor(tensor);
  if (status) return status;
  return guarded("looking at a tensor", [&] {
    auto t = borrow(tensor->as.p);
    if (t.dim() > 64) return ls__fail(LS_ERROR_SHAPE, "a tensor of %d dimensions; 64 are possible", static_cast<int>(t.dim()));
    ls_tensor_info info{};
    info.elements = t.numel();
    info.bytes = t.has_storage() ? static_cast<int64_t>(t.storage().nbytes()) : 0;
    info.version = ls__tensor_version(tensor->as.p);
    info.dtype = dtype_name(t.scalar_type());
    auto device = t.device();
    if (device.is_cpu()) {
      info.device = "cpu";
    } else {
      auto text = device.str();
      info.device = ls__intern(text.data(), text.size());
    }
    info.dims = static_cast<int32_t>(t.dim());
    info.requires_grad = t.requires_grad();
    info.is_leaf = t.is_leaf();
    bool dense = t.layout() == at::kStrided;
    info.is_contiguous = dense && t.is_contiguous();
    info.is_lazy = is_lazy(t);
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
    auto name = node->name();
    return ls__intern(name.data(), name.size());
  } catch (...) {
    return nullptr;
  }
}

ls_status ls_tensor_from(const void* numbers, const char* from, const int64_t* shape, int32_t dims, const char* dtype,
                         const char* device, ls_value* out) {
  LS__NEED(from && dtype && dims >= 0 && dims <= 64 && (shape || !dims) && out);
  int64_t elements = 1;
  for (int32_t i = 0; i < dims; i++)
    if (shape[i] < 0 || __builtin_mul_overflow(elements, shape[i], &elements))
      return ls__fail(LS_ERROR_ARGUMENT, "a tensor cannot have %lld elements on axis %d", static_cast<long long>(shape[i]), i);
  LS__NEED(numbers || !elements);
  at::TensorOptions source, target;
  ls_status status = need_start();
  if (!status) status = read_options(from, nullptr, &source);
  if (!status) status = read_options(dtype, device, &target);
  if (status) return status;
  return guarded("a tensor from numbers", [&] {
    auto view = at::from_blob(const_cast<void*>(numbers), at::IntArrayRef(shape, static_cast<size_t>(dims)), source);
    *out = give(view.to(target, false, /*copy=*/true));
    return LS_OK;
  });
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
    *out = give(is_lazy(t) ? plain(t.detach()) : t);
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
      return ls__fail(LS_ERROR_SHAPE, "item needs a tensor of one element, this one has %lld", static_cast<long long>(t.numel()));
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
      v.as.f = number.toDouble();
    } else {
      return ls__fail(LS_ERROR_ARGUMENT, "Lua has no complex numbers; torch.view_as_real gives both parts");
    }
    *out = v;
    return LS_OK;
  });
}

int32_t ls_tensor_same(const ls_value* a, const ls_value* b) {
  return a && b && a->kind == LS_TENSOR && b->kind == LS_TENSOR && a->as.p == b->as.p;
}

// ---- gradients ---------------------------------------------------------------------------------------------------------

ls_status ls_tensor_grad(const ls_value* tensor, ls_value* out) {
  LS__NEED(tensor && out);
  ls_status status = need_tensor(tensor);
  if (status) return status;
  return guarded("the gradient of a tensor", [&] {
    auto t = borrow(tensor->as.p);
    // `grad()` of a tensor that keeps none warns; there is nothing to say.
    *out = t.is_leaf() || t.retains_grad() ? give(t.grad()) : ls_value{};
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
    if (need_tensor(grad)) return ls__fail(LS_ERROR_ARGUMENT, "a gradient is a tensor or nil");
    auto g = borrow(grad->as.p);
    if (g.sizes() != t.sizes() || g.scalar_type() != t.scalar_type() || g.device() != t.device())
      return ls__fail(LS_ERROR_SHAPE, "a gradient has the shape, dtype and device of its tensor");
    t.mutable_grad() = g;
    return LS_OK;
  });
}

static ls_status not_read_only(const ls_value* v) {
  return v->aux != LS_READ_ONLY ? LS_OK
                                : ls__fail(LS_ERROR_ARGUMENT, "this would change a parameter of the model; clone it first");
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

ls_status ls_tensor_backward(const ls_value* tensor, const ls_value* grad, int32_t retain_graph) {
  LS__NEED(tensor && grad);
  ls_status status = need_tensor(tensor);
  if (!status && grad->kind != LS_NONE) status = need_tensor(grad);
  if (status) return status;
  return guarded("backward", [&] {
    at::Tensor given = grad->kind == LS_TENSOR ? borrow(grad->as.p) : at::Tensor();
    borrow(tensor->as.p).backward(given, retain_graph != 0);
    return LS_OK;
  });
}
