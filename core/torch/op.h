// An operator: all overloads that libtorch has registered under one name.
#ifndef LUASIGHT_TORCH_OP_H
#define LUASIGHT_TORCH_OP_H
#include <ATen/core/dispatch/Dispatcher.h>
#include <string>
#include <vector>
#include "torch/written.h"

struct ls_op {
  std::string name;  // the name without "aten::"
  std::vector<c10::OperatorHandle> overloads;
  std::vector<luasight::Written> written;  // for each overload what it does to its arguments
  bool addresses;                          // whether numbers place its result in memory, see goes_by_places
  bool views;                              // whether its result is a view although the schema does not say so, see gives_undeclared_views
};

#endif
