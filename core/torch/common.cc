// Functions for all files that use libtorch: they turn exceptions into errors, name dtypes and devices, and resolve lazy tensors.
#include "torch/common.h"
#include <ATen/ops/zeros_like.h>
#include <cstring>
#include <vector>

namespace luasight {

// ---- errors ------------------------------------------------------------------------------------------------------------

static void first_line(std::string* text) {
  for (const char* noise : {"[enforce fail at ", "err == 0. "})  // these beginnings of libtorch's messages are cut off
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

// luasight's names of dtypes, indexed by the numbers that the loaded version of libtorch has for them; "" for a dtype without a name.
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
  static const struct { const char *short_name, *name; } others[] = {
      {"float", "float32"}, {"double", "float64"}, {"half", "float16"}, {"long", "int64"}, {"int", "int32"}, {"short", "int16"},
      {"char", "int8"}, {"byte", "uint8"}, {"cfloat", "complex64"}, {"cdouble", "complex128"}};
  for (auto& other : others)
    if (!std::strcmp(other.short_name, name))
      return ls__fail(LS_ERROR_NAME, "there is no dtype \"%s\": its name is \"%s\"", name, other.name);
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

// ---- tensors -----------------------------------------------------------------------------------------------------------

int64_t whole_number(const at::Tensor& t) {
  TORCH_CHECK(at::isIntegralType(t.scalar_type(), /*includeBool=*/true), "a tensor of dtype ", dtype_name(t.scalar_type()),
              " stands where a whole number is needed; x:long() rounds towards zero");
  return t.item().toLong();
}

bool is_lazy(const at::Tensor& t) { return t._is_zerotensor() || t.is_neg() || t.is_conj(); }

at::Tensor plain(const at::Tensor& t) {
  if (!is_lazy(t)) return t;
  return t._is_zerotensor() ? at::zeros_like(t) : t.resolve_conj().resolve_neg();
}

ls_status need_tensor(const ls_value* v) {
  return v && v->kind == LS_TENSOR && v->as.p ? LS_OK : ls__fail(LS_ERROR_ARGUMENT, "a tensor is needed, but the value is of another kind");
}

}  // namespace luasight
