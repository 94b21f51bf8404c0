// Makes tensors from numbers, on memory of the caller and as copies, and counts the references to tensors.
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/from_blob.h>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include "torch/common.h"

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

// The number of bytes that the elements of a tensor take in memory, 0 for a tensor without numbers (device meta).
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

// ---- making ------------------------------------------------------------------------------------------------------------

ls_status ls__tensor_clone(void* tensor, ls_value* out) {
  return guarded("a copy of a tensor", [&] {
    *out = new_value(borrow(tensor).clone());
    return LS_OK;
  });
}

ls_status ls__tensor_shape_only(void* tensor, ls_value* out) {
  return guarded("the shape of a tensor", [&] {
    *out = new_value(borrow(tensor).detach().to(at::kMeta));
    return LS_OK;
  });
}

static ls_status read_options(const char* dtype, const char* device, at::TensorOptions* out) {
  at::ScalarType type;
  at::Device where(at::kCPU);
  ls_status status = read_dtype(dtype, &type);
  if (!status && device) status = read_device(device, &where);
  if (!status) *out = at::TensorOptions().dtype(type).device(where);
  return status;
}

ls_status ls__tensor_map(void* data, const int64_t* shape, const int64_t* strides, int32_t dims, const char* dtype, int32_t lazy,
                         void (*done)(void*), void* context, ls_value* out) {
  c10::DataPtr memory(data, context, done, at::kCPU);  // calls done(context) once, also where this function fails
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
    at::AutoDispatchBelowADInplaceOrView plain;  // set_ must not count as a change of the tensor: its version stays 0
    t.set_(storage, 0, t.sizes(), t.strides());
    if (lazy & LS__CONJUGATE) t._set_conj(true);
    if (lazy & LS__NEGATIVE) t._set_neg(true);
    *out = new_value(std::move(t));
    return LS_OK;
  });
}

// Fails where a number is too large for the whole numbers of `type`. As in libtorch, a negative number of unsigned numbers counts from the
// end.
template <class T>
static ls_status fits(const T* numbers, int64_t n, at::ScalarType type) {
  const char* name = dtype_name(type);
  bool is_signed = *name == 'i';
  int bits = std::atoi(name + (is_signed ? 3 : 4));
  double end = std::ldexp(1.0, is_signed ? bits - 1 : bits), begin = is_signed ? -end : 1 - end;
  for (int64_t i = 0; i < n; i++) {
    double x = static_cast<double>(numbers[i]);
    if (std::is_same<T, int64_t>::value && bits == 64) break;
    bool is_negative_fraction = !is_signed && x < 0 && x != std::trunc(x);
    if (!(std::trunc(x) >= begin && std::trunc(x) < end) || is_negative_fraction)
      return ls__fail(LS_ERROR_ARGUMENT, "number %lld of the list is %.17g, which %s cannot hold", static_cast<long long>(i + 1), x, name);
  }
  return LS_OK;
}

static ls_status check_range(const void* numbers, const char* from, int64_t n, at::ScalarType type) {
  if (std::strncmp(dtype_name(type), "int", 3) && std::strncmp(dtype_name(type), "uint", 4)) return LS_OK;
  if (!std::strcmp(from, "float64")) return fits(static_cast<const double*>(numbers), n, type);
  return std::strcmp(from, "int64") ? LS_OK : fits(static_cast<const int64_t*>(numbers), n, type);
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
  if (!status) status = check_range(numbers, from, elements, c10::typeMetaToScalarType(target.dtype()));
  if (status) return status;
  return guarded("a tensor from numbers", [&] {
    auto view = at::from_blob(const_cast<void*>(numbers), at::IntArrayRef(shape, static_cast<size_t>(dims)), source);
    *out = new_value(view.to(target, false, /*copy=*/true));
    return LS_OK;
  });
}
