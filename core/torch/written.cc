// Tables of operators that change more of their arguments, or share more memory with them, than their schemas say.
#include "torch/written.h"
#include <algorithm>
#include <iterator>

namespace luasight {

namespace {

// Arguments that an operator changes although its schema does not say so. Where the argument `unless` is false, the
// operator does not change them. `spec/fuzz/writes.lua` calls every operator and finds the ones that run on a CPU; the others are from
// libtorch's source. Newer versions of libtorch declare that rrelu changes its argument `noise`.
struct Undeclared {
  const char *name, *arguments[2], *unless;
};

const Undeclared known[] = {
    {"batch_norm", {"running_mean", "running_var"}, "training"},
    {"native_batch_norm", {"running_mean", "running_var"}, "training"},
    {"_batch_norm_impl_index", {"running_mean", "running_var"}, "training"},
    {"cudnn_batch_norm", {"running_mean", "running_var"}, "training"},
    {"miopen_batch_norm", {"running_mean", "running_var"}, "training"},
    {"batch_norm_update_stats", {"running_mean", "running_var"}, nullptr},
    {"batch_norm_gather_stats", {"running_mean", "running_var"}, nullptr},
    {"batch_norm_gather_stats_with_counts", {"running_mean", "running_var"}, nullptr},
    {"instance_norm", {"running_mean", "running_var"}, "use_input_stats"},
    {"rrelu_with_noise", {"noise", nullptr}, "training"},
    {"rrelu_with_noise_", {"noise", nullptr}, "training"},
    {"_copy_from", {"dst", nullptr}, nullptr},
    {"_copy_from_and_resize", {"dst", nullptr}, nullptr},
};

// Operators whose result may lie outside of their tensor argument, at a place in memory that numbers among the arguments choose.
const char* const addressing[] = {
    "as_strided", "as_strided_", "as_strided_copy", "as_strided_scatter", "slice_inverse", "_reshape_alias", "_reshape_alias_copy",
    "set", "set_", "set_data", "resize", "resize_", "resize_as", "resize_as_", "_resize_output", "_resize_output_",
    "_nested_view_from_buffer", "_nested_view_from_buffer_copy",
};

// Operators that compute whole numbers in the dtype of their tensor (div does so with a rounding_mode). Others, such as pow or clamp,
// refuse a number that does not fit.
const char* const cutting[] = {
    "add", "sub", "subtract", "rsub", "mul", "multiply", "div", "divide", "floor_divide", "remainder", "fmod", "gcd", "lcm",
    "bitwise_and", "bitwise_or", "bitwise_xor", "__and__", "__or__", "__xor__", "__iand__", "__ior__", "__ixor__",
};

// Those of them that compare: beside a tensor without negative numbers, -1 would be compared as the largest number of its dtype.
const char* const comparing[] = {
    "eq", "ne", "lt", "le", "gt", "ge", "not_equal", "less", "less_equal", "greater", "greater_equal", "isin", "maximum", "minimum",
};

// Operators that give back an argument, or a view of it, for some arguments, and new memory for others.
const char* const returning[] = {
    "dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout", "einsum", "broadcast_tensors", "meshgrid", "cartesian_prod",
    "chain_matmul", "atleast_1d", "atleast_2d", "atleast_3d", "sum_to_size", "type_as", "to_dense", "dequantize", "conj_physical", "data",
    "lift", "flatten_dense_tensors", "unflatten_dense_tensors", "_to_cpu", "_saturate_weight_to_fp16", "_remove_batch_dim",
};

int place_of(const c10::FunctionSchema& schema, const char* name) {
  for (size_t i = 0; name && i < schema.arguments().size(); i++)
    if (schema.arguments()[i].name() == name) return static_cast<int>(i);
  return -1;
}

}  // namespace

Written written_by_schema(const std::string& name, const c10::FunctionSchema& schema) {
  Written written;
  for (size_t i = 0; i < schema.arguments().size() && i < 32; i++) {
    auto* alias = schema.arguments()[i].alias_info();
    if (alias && alias->isWrite()) written.declared |= 1u << i;
  }
  for (auto& row : known) {
    if (name != row.name) continue;
    for (auto* argument : row.arguments) {
      int place = place_of(schema, argument);
      if (place >= 0 && !(written.declared >> place & 1)) written.undeclared |= 1u << place;
    }
    written.unless = place_of(schema, row.unless);
  }
  return written;
}

bool returns_undeclared_views(const std::string& name) {
  return name == "unsafe_chunk" || name == "unsafe_split" || name == "unsafe_split_with_sizes" || name == "_unsafe_view";
}

bool may_return_arguments(const std::string& name) {
  return !name.compare(0, 6, "_cast_") || std::any_of(std::begin(returning), std::end(returning), [&](const char* row) { return name == row; });
}

template <class Table>
static bool has_plain(const Table& table, const std::string& name) {
  auto plain = name.size() > 1 && name.back() == '_' && name[0] != '_' ? name.substr(0, name.size() - 1) : name;
  return std::any_of(std::begin(table), std::end(table), [&](const char* row) { return plain == row; });
}

bool compares_numbers(const std::string& name) { return has_plain(comparing, name); }
bool cuts_numbers(const std::string& name) { return has_plain(cutting, name) || compares_numbers(name); }

bool goes_by_places(const std::string& name) {
  for (auto* row : addressing)
    if (name == row) return true;
  return false;
}

}  // namespace luasight
