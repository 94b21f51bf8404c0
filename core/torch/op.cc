// Finds operators by name, with all overloads that libtorch has registered, near names for an unknown one, and facts about an operator.
#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <unordered_map>
#include "torch/common.h"
#include "torch/op.h"
#include "torch/overload.h"

using namespace luasight;

// ---- names -------------------------------------------------------------------------------------------------------------

namespace {

using Names = std::map<std::string, std::vector<std::string>>;  // key: the full name of an operator; value: the names of its overloads

const Names& registered() {
  static const Names names = [] {
    Names all;
    for (auto& op : c10::Dispatcher::singleton().getAllOpNames()) all[op.name].push_back(op.overload_name);
    for (auto& entry : all) std::sort(entry.second.begin(), entry.second.end());
    return all;
  }();
  return names;
}

// Whether an operator is for users. Operators whose names do not begin with "aten::" take or return values that Lua cannot hold, or
// serve libtorch itself.
bool is_public(const std::string& name) { return name.compare(0, 6, "aten::") == 0; }

std::string full_name(const char* name) {
  return std::strstr(name, "::") ? name : "aten::" + std::string(name);
}

std::string short_name(const std::string& full) { return is_public(full) ? full.substr(6) : full; }

std::unordered_map<std::string, std::unique_ptr<ls_op>>& known() {
  static auto* all = new std::unordered_map<std::string, std::unique_ptr<ls_op>>;
  return *all;
}

ls_status unknown_name(const char* name) {
  std::vector<std::string> names;
  for (auto& entry : registered())
    if (is_public(entry.first)) names.push_back(short_name(entry.first));
  std::vector<const char*> list;
  list.reserve(names.size());
  for (auto& n : names) list.push_back(n.c_str());
  return ls__fail(LS_ERROR_NAME, "there is no operator \"%s\"%s", name, ls__near(name, list.data(), list.size()));
}

}  // namespace

ls_status ls_op_find(const char* name, const ls_op** out) {
  LS__NEED(name && out);
  if (ls_status status = need_start()) return status;
  return guarded("looking for an operator", [&] {
    auto full = full_name(name);
    auto& cell = known()[full];
    if (!cell) {
      auto found = registered().find(full);
      if (found == registered().end()) {
        known().erase(full);
        return unknown_name(name);
      }
      cell = std::make_unique<ls_op>();
      cell->name = short_name(full);
      for (auto& overload : found->second) {
        auto handle = c10::Dispatcher::singleton().findSchema({full, overload});
        if (handle) cell->overloads.push_back(*handle);
      }
      cell->addresses = goes_by_places(cell->name);
      cell->cuts = cuts_numbers(cell->name);
      cell->views = returns_undeclared_views(cell->name);
      cell->returns = may_return_arguments(cell->name);
      for (auto& handle : cell->overloads) cell->written.push_back(written_by_schema(cell->name, handle.schema()));
    }
    *out = cell.get();
    return LS_OK;
  });
}

// ---- what can be asked -------------------------------------------------------------------------------------------------

const char* ls__op_name(const ls_op* op) { return op->name.c_str(); }

int32_t ls__op_arguments(const ls_op* op) {
  size_t most = 0;
  for (auto& handle : op->overloads) most = std::max(most, handle.schema().arguments().size());
  return static_cast<int32_t>(most);
}

int32_t ls__op_argument(const ls_op* op, const char* name) {
  int32_t kind = LS__ARGUMENT_NONE;
  for (size_t i = 0; i < op->overloads.size(); i++) {
    int place = find_argument(op->overloads[i].schema(), name);
    if (place < 0) continue;
    if (place == 0 || !(op->written[i].declared >> place & 1)) return LS__ARGUMENT_TAKEN;
    kind = LS__ARGUMENT_WRITTEN;
  }
  return kind;
}

bool ls__op_addresses(const ls_op* op) { return op->addresses; }

const char* ls_op_names(const char* prefix) {
  static thread_local std::string text;
  if (!prefix) return "";
  ls_status status = guarded("names of operators", [&] {
    text.clear();
    for (auto& entry : registered()) {
      auto name = short_name(entry.first);
      if (!name.compare(0, std::strlen(prefix), prefix)) text += name + "\n";
    }
    return LS_OK;
  });
  return status ? "" : text.c_str();
}

const char* ls_op_schemas(const ls_op* op) {
  static thread_local std::string text;
  if (!op) return "";
  ls_status status = guarded("the schemas of an operator", [&] {
    text.clear();
    for (auto& handle : op->overloads) text += c10::toString(handle.schema()) + "\n";
    return LS_OK;
  });
  return status ? "" : text.c_str();
}
