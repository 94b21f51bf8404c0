// Chooses the overload of an operator for the arguments of a call, and makes the error where no overload fits.
#include "torch/overload.h"
#include <algorithm>
#include <cstring>
#include "torch/value.h"

namespace luasight {

using c10::FunctionSchema;
using c10::OperatorHandle;

// ---- choosing ----------------------------------------------------------------------------------------------------------

int find_argument(const FunctionSchema& schema, const char* key) {
  auto& arguments = schema.arguments();
  for (size_t i = 0; i < arguments.size(); i++)
    if (arguments[i].name() == key) return static_cast<int>(i);
  if (!std::strcmp(key, "input")) return find_argument(schema, "self");
  if (!std::strcmp(key, "axis")) return find_argument(schema, "dim");
  if (!std::strcmp(key, "keepdims")) return find_argument(schema, "keepdim");
  return -1;
}

// Whether a call may leave out an argument, since it has a default or its type allows None.
static bool is_optional(const c10::Argument& argument) {
  return argument.default_value() || argument.type()->kind() == c10::TypeKind::OptionalType;
}

// The cost of calling `schema` with the arguments in the stream `s`, -1 where they do not fit; the overload of the lowest cost is chosen.
static int match(const FunctionSchema& schema, const ls_value* s, int32_t n, const uint8_t* kinds, Matched* out) {
  auto& arguments = schema.arguments();
  if (arguments.size() > MOST_ARGUMENTS) return -1;
  size_t position = 0;
  for (size_t i = 0; i < arguments.size(); i++) out->given[i] = Given();
  for (int32_t i = 0; i < n;) {
    int place;
    if (s[i].kind == LS_KEY) {
      place = find_argument(schema, s[i].as.s);
      if (place < 0 || out->given[place].at) return -1;
      i++;
    } else {
      if (position >= arguments.size() || arguments[position].kwarg_only()) return -1;
      place = static_cast<int>(position++);
    }
    int32_t end = ls__stream_value(s, i, n);
    out->given[place] = {s + i, end - i};
    i = end;
  }
  int cost = 0;
  for (size_t i = 0; i < arguments.size(); i++) {
    auto& argument = arguments[i];
    auto& given = out->given[i];
    if (given.at && given.at->kind == LS_NONE && argument.default_value()) given = Given();
    if (!given.at) {
      if (!is_optional(argument)) return -1;
      cost += argument.default_value() ? 1 : 8;
      continue;
    }
    int one = fit(*argument.real_type(), argument.N(), given.at, given.n, kinds);
    if (one < 0) return -1;
    cost += 16 * one;
  }
  return cost;
}

const OperatorHandle* choose(const ls_op* op, const ls_value* s, int32_t n, const uint8_t* kinds, Matched* out) {
  refused_for_gradient();
  const OperatorHandle* best = nullptr;
  int least = -1;
  Matched trial;
  for (auto& handle : op->overloads) {
    int cost = match(handle.schema(), s, n, kinds, &trial);
    if (cost < 0 || (best && cost >= least)) continue;
    best = &handle;
    least = cost;
    *out = trial;
  }
  return best;
}

// ---- calls that fit nothing --------------------------------------------------------------------------------------------

static std::string describe(const ls_value* s, int32_t n, const uint8_t* kinds) {
  static const char* words[] = {"nil", "boolean", "integer", "number", "string", "tensor", "tuple", "list", "struct", "proxy"};
  std::string text;
  for (int32_t i = 0; i < n;) {
    if (!text.empty()) text += ", ";
    if (s[i].kind == LS_KEY) text += std::string(s[i++].as.s) + " = ";
    int32_t kind = s[i].kind;
    if (kind == LS_NODE && kinds && kinds[s[i].aux]) kind = kinds[s[i].aux];
    text += kind == LS_OPEN ? "list" : kind <= LS_NODE ? words[kind] : "index";
    i = ls__stream_value(s, i, n);
  }
  return text;
}

static std::string signature(const FunctionSchema& schema) {
  std::string text;
  bool star = false;
  for (auto& argument : schema.arguments()) {
    if (!text.empty()) text += ", ";
    if (argument.kwarg_only() && !star) {
      star = true;
      text += "*, ";
    }
    text += argument.name();
    if (is_optional(argument)) text += "?";
  }
  return "(" + text + ")";
}

ls_status no_fit(const ls_op* op, const ls_value* s, int32_t n, const uint8_t* kinds) {
  bool for_gradient = refused_for_gradient();
  std::vector<std::string> names;
  for (auto& handle : op->overloads)
    for (auto& argument : handle.schema().arguments()) names.push_back(argument.name());
  for (int32_t i = 0; i < n; i++) {
    if (s[i].kind != LS_KEY) continue;
    bool exists = false;
    for (auto& handle : op->overloads) exists = exists || find_argument(handle.schema(), s[i].as.s) >= 0;
    if (exists) continue;
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    std::vector<const char*> list;
    list.reserve(names.size());
    for (auto& name : names) list.push_back(name.c_str());
    return ls__fail(LS_ERROR_ARGUMENT, "%s has no argument \"%s\"%s", op->name.c_str(), s[i].as.s,
                    ls__near(s[i].as.s, list.data(), list.size()));
  }
  for (int32_t i = 0; i < n; i++)  // an unknown name of a dtype is the likeliest mistake
    if (s[i].kind == LS_STRING && i && s[i - 1].kind == LS_KEY) {
      at::ScalarType ignored;
      if (!std::strcmp(s[i - 1].as.s, "dtype") && !find_dtype(s[i].as.s, &ignored)) return read_dtype(s[i].as.s, &ignored);
    }
  std::string forms;
  size_t shown = 0;
  for (auto& handle : op->overloads) {
    if (find_argument(handle.schema(), "out") >= 0 && op->overloads.size() > 1) continue;
    if (shown++ == 3) break;
    forms += (forms.empty() ? "" : " or ") + signature(handle.schema());
  }
  auto given = describe(s, n, kinds);
  const char* next = given.find("tuple") != std::string::npos    ? "; the first element of a tuple is x[0]"
                     : given.find("struct") != std::string::npos ? "; take a field of the struct"
                     : for_gradient ? "; a tensor that needs a gradient cannot be a number, since its gradient would be lost: t:detach()"
                                    : "";
  return ls__fail(LS_ERROR_ARGUMENT, "%s cannot be called with (%s); it takes %s%s", op->name.c_str(), given.c_str(),
                  forms.c_str(), next);
}

}  // namespace luasight
